"""The deadlines of open jobs: kept, moved on after an outage, and enforced where nobody else does.

:mod:`serve.rows` sets them when jobs are accepted; the workflow keeps them while it calls a stage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, select, update

from cascade_core.errors import DeadlineExceeded
from serve.db import Database
from serve.patience import PatientDatabase
from serve.records import OPEN_STATES, utc_now
from serve.tables import jobs

OWNERLESS_AFTER: Final = timedelta(seconds=60)
"""Whoever runs a job ends it at its deadline; one that is open so long after it has lost its
process and cannot be resumed."""

logger = logging.getLogger(__name__)


def seconds_left(database: Database, job_id: str) -> float | None:
    """Return the seconds until a job's deadline, below 0 after it; None if it has none."""
    with database.reading() as connection:
        query = select(jobs.c.deadline_at).where(jobs.c.id == job_id)
        deadline_at = connection.execute(query).scalar()
    return None if deadline_at is None else (deadline_at - utc_now()).total_seconds()


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


def extend(connection: Connection, by: timedelta) -> None:
    """Move the deadlines of all open jobs on, as nothing could run them for that time."""
    query = select(jobs.c.id, jobs.c.deadline_at).where(
        jobs.c.state.in_(OPEN_STATES), jobs.c.deadline_at.is_not(None)
    )
    rows = list(connection.execute(query))
    for row in rows:
        later = update(jobs).where(jobs.c.id == row.id)
        connection.execute(later.values(deadline_at=row.deadline_at + by))
    if rows:
        seconds = by.total_seconds()
        logger.warning("no process ran jobs for %.0f s: %d deadlines moved on", seconds, len(rows))


def end_ownerless(database: Database) -> None:
    """Fail the open jobs that nobody ended at their deadline."""
    late = jobs.c.deadline_at < utc_now() - OWNERLESS_AFTER
    query = select(jobs.c.id).where(jobs.c.state.in_(OPEN_STATES), late)
    with database.reading() as connection:
        job_ids = list(connection.execute(query).scalars())
    for job_id in job_ids:
        if database.finish_job(job_id, "failed", deadline_exceeded().to_dict()):
            logger.error("job %s was still open long after its deadline", job_id)
