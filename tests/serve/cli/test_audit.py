"""``cascade audit verify``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from serve.settings import load_settings
from serve.storage.assets.asset import Actor
from serve.storage.database import Database
from tests.migrated import with_tables
from tests.serve.cli.cascade import Cascade

NOWHERE = Cascade("http://127.0.0.1:1")


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path))
    database = Database(with_tables(load_settings().database_url))
    yield database
    database.close()


def test_a_sound_log_is_said_to_be_sound_with_its_newest_hash(database: Database) -> None:
    assert "no events" in NOWHERE("audit", "verify").stdout
    newest = [database.audit.record("export", Actor(None, "local"), {}) for _ in range(2)][-1]
    told = NOWHERE("audit", "verify", "--contains", newest)
    assert told.exit_code == 0, told.output
    assert "2 sound events" in told.stdout
    assert newest in told.stdout


def test_a_changed_event_and_a_missing_hash_end_with_an_error(database: Database) -> None:
    for _ in range(2):
        database.audit.record("export", Actor(None, "local"), {})
    cut = NOWHERE("audit", "verify", "--contains", "0" * 64)
    assert (cut.exit_code, "cut off or replaced" in cut.stderr) == (1, True)
    with database.writing() as connection:
        connection.execute(text("DROP TRIGGER audit_events_no_update"))
        connection.execute(text("UPDATE audit_events SET action = 'x' WHERE number = 1"))
    changed = NOWHERE("audit", "verify", "--json")
    assert changed.exit_code == 1
    assert "event 1 was changed" in changed.stderr
    (report,) = json.loads(changed.stdout)
    assert (report["events"], report["problem"]) == (0, "event 1 was changed")
