"""Jobs whose clients have left while they waited: cancelled in the background."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context

from sqlalchemy import update

from cascade_core.errors import NotReady
from serve.db import Database
from serve.records import OPEN_STATES
from serve.services import Services
from serve.tables import jobs

TRIES, PAUSE_S = 50, 0.2
_running: set[asyncio.Task[None]] = set()


def forsake(services: Services, job_id: str) -> None:
    """Cancel the job of a client that has left, in the background; its Idempotency-Key is free.

    Ray Serve cancels the request of such a client, again if it lingers; so this must not be part
    of it. The job may appear only in a moment, as its submission goes on.
    """
    task = asyncio.create_task(_forsake(services, job_id), context=Context())
    _running.add(task)
    task.add_done_callback(_running.discard)


async def _forsake(services: Services, job_id: str) -> None:
    for _ in range(TRIES):
        if services.waiters.count(job_id):
            return
        with suppress(NotReady):
            # Before the end, so that who asks again in this moment gets a job that goes on.
            await asyncio.to_thread(_free_key, services.database, job_id)
            if await services.jobs.cancel(job_id):
                return
            job = await asyncio.to_thread(services.database.job, job_id)
            if job is not None and job.is_terminal:
                return
        await asyncio.sleep(PAUSE_S)


def _free_key(database: Database, job_id: str) -> None:
    is_open = jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES)
    with database.writing() as connection:
        connection.execute(update(jobs).where(*is_open).values(idempotency_key=None))
