"""Stops the work of a job at its deadline.

:mod:`serve.storage.job_queue.deadline_store` computes the deadline when a job is accepted.
:mod:`serve.jobs.recovery` fails jobs that lost their process before their deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cascade_core.errors import DeadlineExceeded
from serve.storage.job_queue.deadline_store import DeadlineStore
from serve.storage.retry import RetryingDatabase


@asynccontextmanager
async def in_time(database: RetryingDatabase, job_id: str) -> AsyncIterator[None]:
    """Stop the block at the job's deadline.

    Raises:
        DeadlineExceeded: the block had not ended by then.
    """
    left_s = await database.deadlines.do(DeadlineStore.seconds_left, job_id)
    try:
        async with asyncio.timeout(left_s):
            yield
    except TimeoutError:
        raise deadline_exceeded() from None


def deadline_exceeded() -> DeadlineExceeded:
    """Return the error of a job that was not done by its deadline."""
    return DeadlineExceeded(
        "the job was not done by its deadline; the service is overloaded or unhealthy"
    )
