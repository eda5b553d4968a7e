"""Jobs whose client has left while it waited: cancelled in the background."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context

from cascade_core.errors import NotReady
from serve.services import Services

TRIES, PAUSE_S = 50, 0.2
_running: set[asyncio.Task[None]] = set()


def forsake(services: Services, job_id: str) -> None:
    """Cancel the job of a client that has left, in the background.

    Ray Serve cancels the request of such a client, again if it lingers; so this must not be part
    of it. The job may appear only in a moment, as its submission goes on.
    """
    task = asyncio.create_task(_forsake(services, job_id), context=Context())
    _running.add(task)
    task.add_done_callback(_running.discard)


async def _forsake(services: Services, job_id: str) -> None:
    for _ in range(TRIES):
        with suppress(NotReady):
            if await services.jobs.cancel(job_id):
                return
            job = await asyncio.to_thread(services.database.job, job_id)
            if job is not None and job.is_terminal:
                return
        await asyncio.sleep(PAUSE_S)
