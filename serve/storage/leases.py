"""Which processes run jobs, and which of them does what one does for all.

Each has a name, its executor id, and shows in the database that it lives. The name is the rank of
its replica, so that a replica started again under its rank resumes its own jobs at once. Serve may
give a rank away while its first holder lives, when a deployment shrinks and grows; so the name is
taken only if no other process shows life under it.

No two machines' clocks are compared. Times in the tables are the database's. Another process has
expired when its sign of life has not changed for some time on this process's own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, or_, select, update

from serve.release import RELEASE
from serve.storage.database import Database
from serve.storage.deadline_store import extend_all, last_heartbeat
from serve.storage.events import lock_events
from serve.storage.schema.tables import database_now, executors, leases, upsert

BEAT_S: Final = 1.0
"""How often a process shows that it lives."""
GONE_AFTER: Final = timedelta(seconds=10)
"""Without a sign of life for so long, its jobs and its lease go to others."""
_UNSEEN_AFTER_S: Final = 5.0
"""A process that has not looked for so long cannot tell how long the others were silent."""

Watched = Mapping[str, tuple[datetime, float]]
"""By executor: its last sign of life, and since when this process has seen that one."""


class Executors:
    """The processes that run jobs, as one of them sees the others; every method blocks.

    Args:
        database: where all of them show life.
        clock: seconds of this process that only grow.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self.database = database
        self._clock = clock
        self._watched: Watched = {}
        self._looked_at_s = -_UNSEEN_AFTER_S

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
        before, age = self._last_beat(name)
        if before is not None and age < GONE_AFTER:
            pause(2.5 * BEAT_S)
            if self._last_beat(name)[0] != before:
                name = f"jobs-{replica}"
        self.beat(name)
        return name

    def beat(self, name: str) -> bool:
        """Show that an executor lives; if none did for long, deadlines move on by that time.

        Returns:
            True if this executor holds the lease on what one process of its release does for all.
        """
        with self.database.writing() as connection:
            if _quiet_for(connection) > GONE_AFTER:
                lock_events(connection)  # those that start together shall move them on once
                quiet = _quiet_for(connection)
                if quiet > GONE_AFTER:
                    extend_all(connection, quiet)
            now = database_now(connection)
            upsert(connection, executors, {"id": name, "beat_at": now})
            leads = _take_lease(connection, name, now)
            rows = connection.execute(select(executors.c.id, executors.c.beat_at))
            beats = {row.id: row.beat_at for row in rows}
        self._watch(beats)
        return leads

    def gone(self, own_name: str) -> dict[str, datetime]:
        """Return the executors whose sign of life has not changed for long, as of the last beat.

        The one that asks is not gone, however late its own sign of life is.

        Returns:
            By executor, that sign of life.
        """
        silent_since_s = self._looked_at_s - GONE_AFTER.total_seconds()
        return {
            name: beat_at
            for name, (beat_at, since_s) in self._watched.items()
            if since_s <= silent_since_s and name != own_name
        }

    def forget(self, name: str, beat_at: datetime) -> None:
        """Remove an executor whose jobs others have, unless it has shown life after ``beat_at``."""
        silent = delete(executors).where(executors.c.id == name, executors.c.beat_at == beat_at)
        with self.database.writing() as connection:
            connection.execute(silent)

    def _watch(self, beats: Mapping[str, datetime]) -> None:
        now_s = self._clock()
        # While this process or the database was away, the others may have been well.
        known = {} if now_s - self._looked_at_s > _UNSEEN_AFTER_S else self._watched
        self._watched = {
            name: known[name] if name in known and known[name][0] == beat_at else (beat_at, now_s)
            for name, beat_at in beats.items()
        }
        self._looked_at_s = now_s

    def _last_beat(self, name: str) -> tuple[datetime | None, timedelta]:
        """Return an executor's last sign of life, and how old it is."""
        query = select(executors.c.beat_at).where(executors.c.id == name)
        with self.database.reading() as connection:
            found: datetime | None = connection.execute(query).scalar()
            return found, timedelta() if found is None else database_now(connection) - found


def _take_lease(connection: Connection, holder: str, now: datetime) -> bool:
    """Take or keep the lease of this release; False if another process keeps it."""
    name = f"jobs {RELEASE}"
    upsert(connection, leases, {"name": name})
    is_old = or_(
        leases.c.renewed_at.is_(None),
        leases.c.renewed_at < now - GONE_AFTER,
        leases.c.renewed_at > now + GONE_AFTER,  # the database's clock was set back
    )
    is_free = or_(leases.c.holder == holder, is_old)
    renewed = update(leases).where(leases.c.name == name, is_free)
    return connection.execute(renewed.values(holder=holder, renewed_at=now)).rowcount == 1


def _quiet_for(connection: Connection) -> timedelta:
    """Return the time since any executor showed life; 0 if that is not known."""
    newest = last_heartbeat(connection)
    return timedelta() if newest is None else database_now(connection) - newest
