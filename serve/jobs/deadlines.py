"""The deadline of a job while it runs, and the end of jobs that no process ended at theirs.

:mod:`serve.storage.admission` sets the deadlines when jobs are accepted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from cascade_core.errors import DeadlineExceeded
from serve.storage.database import Database
from serve.storage.deadline_store import DeadlineStore
from serve.storage.retry import RetryingDatabase

OWNERLESS_AFTER: Final = timedelta(seconds=60)
"""The process that runs a job ends it at its deadline; a job that is open for so long after it has
lost its process and cannot be resumed."""

logger = logging.getLogger(__name__)


@asynccontextmanager
async def in_time(database: RetryingDatabase, job_id: str) -> AsyncIterator[None]:
    """Stop what is in the block at the job's deadline.

    Raises:
        DeadlineExceeded: it was not done by then.
    """
    left_s = await database.deadlines.do(DeadlineStore.seconds_left, job_id)
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


def end_ownerless(database: Database) -> None:
    """Fail the open jobs that no process ended at their deadline."""
    for job_id in database.deadlines.overdue_ids(OWNERLESS_AFTER):
        if database.jobs.finish(job_id, "failed", deadline_exceeded().to_dict()):
            logger.error("job %s was still open long after its deadline", job_id)
