"""The benchmark of the backlog has so many jobs open as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.service import backlog
from serve.storage.database import Database


def test_jobs_are_accepted_and_shown_behind_so_many_as_the_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "OPEN_JOBS", (2, 4))
    monkeypatch.setattr(backlog, "REPEATS", 2)
    database = Database(f"sqlite:///{tmp_path / 'cascade.db'}")
    database.create_tables()
    rows = backlog._measure(database, database)
    assert database.jobs.count() == {"queued": 4}
    table = backlog._table(rows, "sqlite")
    for count in (2, 4):
        assert f"| accepting a job | {count} | " in table
        assert f"| showing an open job | {count} | " in table
    database.close()
