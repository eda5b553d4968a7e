"""The deadlines of open jobs: kept, moved on after an outage, enforced for jobs without a process.

:mod:`serve.storage.rows` sets them when jobs are accepted; the workflow keeps them while it calls
a stage. They are times of the database's clock, as each process may be on a machine of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select, update

from cascade_core.errors import DeadlineExceeded
from serve.storage.database import Database
from serve.storage.records import OPEN_STATES
from serve.storage.retry import PatientDatabase
from serve.storage.schema.tables import database_now, executors, jobs

OWNERLESS_AFTER: Final = timedelta(seconds=60)
"""The process that runs a job ends it at its deadline; a job that is open for so long after it has
lost its process and cannot be resumed."""

logger = logging.getLogger(__name__)


def seconds_left(database: Database, job_id: str) -> float | None:
    """Return the seconds until a job's deadline, below 0 after it; None if it has none."""
    with database.reading() as connection:
        query = select(jobs.c.deadline_at).where(jobs.c.id == job_id)
        deadline_at: datetime | None = connection.execute(query).scalar()
        if deadline_at is None:
            return None
        return (deadline_at - database_now(connection)).total_seconds()


@asynccontextmanager
async def in_time(database: PatientDatabase, job_id: str) -> AsyncIterator[None]:
    """Stop what is in the block at the job's deadline.

    Raises:
        DeadlineExceeded: it was not done by then.
    """
    left_s = await database.do(seconds_left, job_id)
    try:
        async with asyncio.timeout(left_s):
            yield
    except TimeoutError:
        raise deadline_exceeded() from None


def deadline_exceeded() -> DeadlineExceeded:
    """Return the error of a job that is given up."""
    return DeadlineExceeded(
        "the job was not done by its deadline; the service is overloaded or ill"
    )


def last_life(connection: Connection) -> datetime | None:
    """Return when a process last showed that it runs jobs; None if that is not known.

    A later time than now was written before the database's clock was set back.
    """
    past = executors.c.beat_at <= database_now(connection)
    found: datetime | None = connection.execute(
        select(func.max(executors.c.beat_at)).where(past)
    ).scalar()
    return found


def extend_all(connection: Connection, by: timedelta) -> None:
    """Move the deadlines of all open jobs on, as nothing could run them for that time."""
    count = _extend(connection, by)
    if count:
        seconds = by.total_seconds()
        logger.warning("no process ran jobs for %.0f s: %d deadlines moved on", seconds, count)


def extend(database: Database, job_id: str, by: timedelta) -> None:
    """Move one open job's deadline on, as it waited for the service itself for that time."""
    with database.writing() as connection:
        _extend(connection, by, jobs.c.id == job_id)


def _extend(connection: Connection, by: timedelta, *conditions: ColumnElement[bool]) -> int:
    """Move the deadlines of open jobs on; returns of how many.

    One by one, as SQLite cannot add to the times that it keeps.
    """
    query = select(jobs.c.id, jobs.c.deadline_at).where(
        jobs.c.state.in_(OPEN_STATES), jobs.c.deadline_at.is_not(None), *conditions
    )
    rows = list(connection.execute(query))
    for row in rows:
        later = update(jobs).where(jobs.c.id == row.id)
        connection.execute(later.values(deadline_at=row.deadline_at + by))
    return len(rows)


def end_ownerless(database: Database) -> None:
    """Fail the open jobs that no process ended at their deadline.

    Their deadlines are compared with the newest sign of life of any process: after an outage the
    next one moves the deadlines on, and until then none of them has passed.
    """
    with database.reading() as connection:
        lived_at = last_life(connection)
        if lived_at is None:
            return
        late = jobs.c.deadline_at < lived_at - OWNERLESS_AFTER
        query = select(jobs.c.id).where(jobs.c.state.in_(OPEN_STATES), late)
        job_ids = list(connection.execute(query).scalars())
    for job_id in job_ids:
        if database.finish_job(job_id, "failed", deadline_exceeded().to_dict()):
            logger.error("job %s was still open long after its deadline", job_id)
