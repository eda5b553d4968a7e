"""Many threads of one process write to one SQLite file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from serve.storage import connections
from serve.storage.database import Database
from serve.storage.schema.tables import jobs


def test_writers_of_one_process_wait_in_line_however_long_it_takes(
    new_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SQLITE_BUSY_TIMEOUT_MS", 0)
    database = Database(new_database_url("sqlite"))
    database.create_tables()
    with ThreadPoolExecutor(1) as thread:
        with database.writing() as connection:
            connection.execute(update(jobs).values(stage="c"))
            waiting = thread.submit(database.jobs.start, "nothing")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert waiting.result() is False
    database.close()
