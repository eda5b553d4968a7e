"""Jobs whose clients have left while they waited: cancelled in the background."""

from __future__ import annotations

import asyncio
import logging

from cascade_core.errors import CascadeError
from serve.gateway.dependencies import Services
from serve.telemetry.log import context_of_ids

TRIES, PAUSE_S = 50, 0.2
OUTAGE_TRIES, OUTAGE_PAUSE_S = 300, 2.0
"""Ten minutes for a database or a job service that does not answer."""
logger = logging.getLogger(__name__)

_running: set[asyncio.Task[None]] = set()


def forsake(services: Services, job_id: str) -> None:
    """Cancel the job of a client that has left, in the background; its Idempotency-Key is free.

    Ray Serve cancels the request of such a client, again if it lingers; so this must not be part
    of it. The job may appear only in a moment, as its submission goes on.
    """
    task = asyncio.create_task(_forsake(services, job_id), context=context_of_ids(job_id))
    _running.add(task)
    task.add_done_callback(_running.discard)


async def _forsake(services: Services, job_id: str) -> None:
    tries = outages = 0
    while tries < TRIES and outages < OUTAGE_TRIES:
        if services.waiters.count(job_id):
            return
        try:
            if await _end(services, job_id):
                return
        except CascadeError as error:
            logger.warning("a job whose client has left is not cancelled yet: %s", error)
            outages += 1
            await asyncio.sleep(OUTAGE_PAUSE_S)
        else:
            tries += 1
            await asyncio.sleep(PAUSE_S)


async def _end(services: Services, job_id: str) -> bool:
    """Cancel a job; False if it is not there (yet)."""
    # Before the end, so that the same request in this moment gets a job that goes on.
    await services.database.run(services.database.jobs.release_idempotency_key, job_id)
    if await services.jobs.cancel(job_id):
        return True
    job = await services.database.run(services.database.jobs.get, job_id)
    return job is not None and job.is_terminal
