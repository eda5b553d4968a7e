"""Which processes run jobs: each shows in the database that it lives.

A process that runs jobs has a name, its executor id. It is the rank of its replica, so that a
replica started again under its rank resumes its own jobs at once. Serve may give a rank away while
its first holder lives, when a deployment shrinks and grows; so the name is taken only if nobody
else shows life under it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, select

from serve.db import Database
from serve.deadlines import extend
from serve.records import utc_now
from serve.tables import executors, lock_events, upsert

BEAT_S: Final = 1.0
"""How often a process shows that it lives."""
GONE_AFTER: Final = timedelta(seconds=10)
"""Without a sign of life for so long, its jobs go to others."""


class Executors:
    """The table of processes that run jobs; every method is one transaction and blocks."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take_name(
        self, rank: int, replica: str, pause: Callable[[float], None] = time.sleep
    ) -> str:
        """Return the executor id of a process that starts, and show its first sign of life.

        Args:
            rank: of its replica.
            replica: unique name of its replica.
            pause: sleeps for seconds; for tests.
        """
        name = f"jobs-{rank}"
        before = self._last_beat(name)
        if before is not None and utc_now() - before < GONE_AFTER:
            pause(2.5 * BEAT_S)
            if self._last_beat(name) != before:
                name = f"jobs-{replica}"
        self.beat(name)
        return name

    def beat(self, name: str) -> None:
        """Show that an executor lives; if none did for long, deadlines move on by that time."""
        with self.database.writing() as connection:
            if _quiet_for(connection) > GONE_AFTER:
                lock_events(connection)  # those that start together shall move them on once
                quiet = _quiet_for(connection)
                if quiet > GONE_AFTER:
                    extend(connection, quiet)
            upsert(connection, executors, {"id": name, "beat_at": utc_now()})

    def gone(self, own_name: str) -> list[str]:
        """Return the executors that have not shown life for long.

        The one that asks is not gone, however late its own sign of life is.
        """
        quiet = executors.c.beat_at < utc_now() - GONE_AFTER
        query = select(executors.c.id).where(quiet, executors.c.id != own_name)
        with self.database.reading() as connection:
            return list(connection.execute(query).scalars())

    def forget(self, name: str) -> None:
        """Strike out an executor whose jobs others have, unless it lives again."""
        quiet = executors.c.beat_at < utc_now() - GONE_AFTER
        with self.database.writing() as connection:
            connection.execute(delete(executors).where(executors.c.id == name, quiet))

    def _last_beat(self, name: str) -> datetime | None:
        with self.database.reading() as connection:
            query = select(executors.c.beat_at).where(executors.c.id == name)
            found: datetime | None = connection.execute(query).scalar()
            return found


def _quiet_for(connection: Connection) -> timedelta:
    """Return the time since any executor showed life; 0 if none ever did."""
    newest: datetime | None = connection.execute(select(func.max(executors.c.beat_at))).scalar()
    return timedelta() if newest is None else utc_now() - newest
