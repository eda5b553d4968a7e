"""The deadlines of open jobs: computed, read, extended after an outage, found when exceeded.

:mod:`serve.storage.job_queue.admission` gives each job its deadline. Deadlines are times of the
database's clock, as each process may be on a machine of its own.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select, update

from cascade_core.job_states import OPEN_STATES
from serve.settings import MIN_DEADLINE_S
from serve.storage.connections import Connections
from serve.storage.job_parts.parts import stored_part
from serve.storage.schema.tables import database_now, executors, jobs

DEADLINE_FACTOR: Final = 10.0
"""Later jobs may overtake a job, and a stage may lose some of its replicas."""
UNKNOWN_DEADLINE_S: Final = 24 * 3600.0
"""Before anything was measured: a slow machine may need hours for its first jobs."""

logger = logging.getLogger(__name__)


class DeadlineStore:
    """Reads and extends deadlines; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def seconds_left(self, job_id: str) -> float | None:
        """Return the seconds until a job's deadline, below 0 after it; None if it has none."""
        with self._connections.reading() as connection:
            query = select(jobs.c.deadline_at).where(jobs.c.id == job_id)
            deadline_at: datetime | None = connection.execute(query).scalar()
            if deadline_at is None:
                return None
            return (deadline_at - database_now(connection)).total_seconds()

    def extend(self, job_id: str, by: timedelta) -> None:
        """Extend one open job's deadline by the time that it waited for the service itself."""
        with self._connections.writing() as connection:
            _extend(connection, by, jobs.c.id == job_id)

    def overdue(self, by: timedelta) -> dict[str, str]:
        """Return the open jobs whose deadline passed at least ``by`` before the last heartbeat.

        The last heartbeat of any process counts instead of now: after an outage the next heartbeat
        extends the deadlines, and until then none of them has passed.

        Returns:
            By job id, the part that the job is in.
        """
        with self._connections.reading() as connection:
            heartbeat_at = last_heartbeat(connection)
            if heartbeat_at is None:
                return {}
            is_late = jobs.c.deadline_at < heartbeat_at - by
            query = select(jobs.c.id, jobs.c.choice, jobs.c.redos)
            rows = connection.execute(query.where(jobs.c.state.in_(OPEN_STATES), is_late))
            return {row.id: stored_part(row.choice, row.redos) for row in rows}


def time_allowed_s(estimate_s: float | None, at_least_s: float = MIN_DEADLINE_S) -> float:
    """Return the seconds that a job may take from its acceptance to its end.

    Args:
        estimate_s: of waiting and running, from measured rates; None before anything was measured.
        at_least_s: granted to every job, whatever its estimate.
    """
    if estimate_s is None:
        return max(UNKNOWN_DEADLINE_S, at_least_s)
    return at_least_s + DEADLINE_FACTOR * estimate_s


def last_heartbeat(connection: Connection) -> datetime | None:
    """Return the last heartbeat of any process that runs jobs; None if there is none.

    A time later than now was written before the database's clock was set back, and is left out.
    """
    past = executors.c.heartbeat_at <= database_now(connection)
    found: datetime | None = connection.execute(
        select(func.max(executors.c.heartbeat_at)).where(past)
    ).scalar()
    return found


def extend_all(connection: Connection, by: timedelta) -> None:
    """Extend the deadlines of all open jobs by the time in which no process ran them."""
    count = _extend(connection, by)
    if count:
        seconds = by.total_seconds()
        logger.warning("no process ran jobs for %.0f s: extended %d deadlines", seconds, count)


def _extend(connection: Connection, by: timedelta, *conditions: ColumnElement[bool]) -> int:
    """Extend the deadlines of open jobs; returns of how many.

    One by one, as SQLite cannot add to the times that it stores.
    """
    query = select(jobs.c.id, jobs.c.deadline_at).where(
        jobs.c.state.in_(OPEN_STATES), jobs.c.deadline_at.is_not(None), *conditions
    )
    # In one order: transactions that lock the same jobs must not wait for each other in a circle.
    rows = list(connection.execute(query.order_by(jobs.c.id).with_for_update()))
    for row in rows:
        later = update(jobs).where(jobs.c.id == row.id)
        connection.execute(later.values(deadline_at=row.deadline_at + by))
    return len(rows)
