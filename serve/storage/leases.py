"""The processes that run jobs: their heartbeats, and the lease of the process that leads.

Each process has a name, its executor id. The name is the rank of its replica, so that a replica
started again under its rank resumes its own jobs at once. Serve may give a rank away while its
first holder lives, when a deployment shrinks and grows. So a process takes the name only if no
other process renews it.

No two machines' clocks are compared. Times in the tables are the database's. Another process has
expired when its heartbeat has not changed for some time on this process's own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, or_, select, update

from serve.release import RELEASE
from serve.storage.connections import hold_lock
from serve.storage.database import Database
from serve.storage.job_queue.deadline_store import extend_all, last_heartbeat
from serve.storage.schema.tables import database_now, executors, leases, upsert

RENEW_EVERY_S: Final = 1.0
"""The interval of a process's heartbeats."""
EXPIRES_AFTER: Final = timedelta(seconds=10)
"""Without a heartbeat for so long, a process's jobs and its lease go to others."""
_DEADLINES_LOCK: Final = 0x4341_5343_0002
_UNSEEN_AFTER_S: Final = 5.0
"""A process that has not looked for so long does not know how long the others were silent."""

Watched = Mapping[str, tuple[datetime, float]]
"""By executor: its last heartbeat, and since when this process has seen that heartbeat."""


class LeaseStore:
    """The processes that run jobs, as one of them sees the others; every method blocks.

    Args:
        database: where the heartbeats and the lease are.
        clock: seconds of this process that only grow.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self.database = database
        self._clock = clock
        self._watched: Watched = {}
        self._looked_at_s = -_UNSEEN_AFTER_S

    def acquire(self, rank: int, replica: str, pause: Callable[[float], None] = time.sleep) -> str:
        """Return the executor id of a process that starts, and write its first heartbeat.

        Args:
            rank: of its replica.
            replica: unique name of its replica.
            pause: sleeps for seconds; for tests.
        """
        name = f"jobs-{rank}"
        before, age = self._heartbeat(name)
        if before is not None and age < EXPIRES_AFTER:
            pause(2.5 * RENEW_EVERY_S)
            if self._heartbeat(name)[0] != before:
                name = f"jobs-{replica}"
        self.renew(name)
        return name

    def renew(self, name: str) -> bool:
        """Write an executor's heartbeat; after a long silence of all, deadlines are extended by it.

        Returns:
            True if this executor holds the lease of its release. Its holder does what one process
            does for all.
        """
        with self.database.writing() as connection:
            if _silence(connection) > EXPIRES_AFTER:
                # Processes that start together must extend them once.
                hold_lock(connection, _DEADLINES_LOCK)
                silence = _silence(connection)
                if silence > EXPIRES_AFTER:
                    extend_all(connection, silence)
            now = database_now(connection)
            upsert(connection, executors, {"id": name, "heartbeat_at": now})
            leads = _take_lease(connection, name, now)
            rows = connection.execute(select(executors.c.id, executors.c.heartbeat_at))
            heartbeats = {row.id: row.heartbeat_at for row in rows}
        self._watch(heartbeats)
        return leads

    def expired(self, own_name: str) -> dict[str, datetime]:
        """Return the executors whose heartbeat has not changed for long, as of the last renewal.

        The process that asks is not among them, however late its own heartbeat is.

        Returns:
            By executor, its last heartbeat.
        """
        silent_since_s = self._looked_at_s - EXPIRES_AFTER.total_seconds()
        return {
            name: heartbeat_at
            for name, (heartbeat_at, since_s) in self._watched.items()
            if since_s <= silent_since_s and name != own_name
        }

    def remove(self, name: str, heartbeat_at: datetime) -> None:
        """Remove an executor if ``heartbeat_at`` is still its last heartbeat."""
        is_silent = executors.c.id == name, executors.c.heartbeat_at == heartbeat_at
        with self.database.writing() as connection:
            connection.execute(delete(executors).where(*is_silent))

    def _watch(self, heartbeats: Mapping[str, datetime]) -> None:
        now_s = self._clock()
        # While this process or the database was away, the others may have been well.
        known = {} if now_s - self._looked_at_s > _UNSEEN_AFTER_S else self._watched
        self._watched = {
            name: known[name] if name in known and known[name][0] == at else (at, now_s)
            for name, at in heartbeats.items()
        }
        self._looked_at_s = now_s

    def _heartbeat(self, name: str) -> tuple[datetime | None, timedelta]:
        """Return an executor's last heartbeat, and its age."""
        query = select(executors.c.heartbeat_at).where(executors.c.id == name)
        with self.database.reading() as connection:
            found: datetime | None = connection.execute(query).scalar()
            return found, timedelta() if found is None else database_now(connection) - found


def _take_lease(connection: Connection, holder: str, now: datetime) -> bool:
    """Take or keep the lease of this release; False if another process holds it."""
    name = f"jobs {RELEASE}"
    upsert(connection, leases, {"name": name})
    is_old = or_(
        leases.c.renewed_at.is_(None),
        leases.c.renewed_at < now - EXPIRES_AFTER,
        leases.c.renewed_at > now + EXPIRES_AFTER,  # the database's clock was set back
    )
    is_free = or_(leases.c.holder == holder, is_old)
    renewed = update(leases).where(leases.c.name == name, is_free)
    return connection.execute(renewed.values(holder=holder, renewed_at=now)).rowcount == 1


def _silence(connection: Connection) -> timedelta:
    """Return the time since the last heartbeat of any executor; 0 if that is not known."""
    newest = last_heartbeat(connection)
    return timedelta() if newest is None else database_now(connection) - newest
