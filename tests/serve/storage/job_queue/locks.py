"""What PostgreSQL says of the locks that transactions wait for."""

from __future__ import annotations

import time

from sqlalchemy import text

from serve.storage.database import Database
from tests.limits import HANG_S


def wait_until_a_lock_is_waited_for(database: Database, by: int = 1) -> None:
    """Return as soon as so many transactions in this database wait for a lock."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline_s = time.monotonic() + HANG_S
    while time.monotonic() < deadline_s:
        with database.reading() as connection:
            if connection.execute(query).scalar_one() >= by:
                return
        time.sleep(0.01)
    raise TimeoutError("no transaction waits for a lock")
