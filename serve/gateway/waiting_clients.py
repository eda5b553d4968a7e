"""The requests of this process that wait for jobs, and jobs whose clients have all left."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from cascade_core.errors import CascadeError
from cascade_core.request import GenerationRequest
from serve.gateway.jobs_client import JobsClient
from serve.storage.database import Database
from serve.telemetry.log import context_of_ids

TRIES, PAUSE_S = 50, 0.2
OUTAGE_TRIES, OUTAGE_PAUSE_S = 300, 2.0
"""Ten minutes for a database or a Jobs process that does not answer."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AcceptedJob:
    """The job that a request became.

    Attributes:
        is_new: this request made the job; False: an equal request made it before.
        request: of a new job; None: it is in the database.
    """

    job_id: str
    is_new: bool
    request: GenerationRequest | None = None


@dataclass(slots=True)
class _Waiting:
    count: int
    is_bound: bool


class WaitingClients:
    """Counts the clients that wait for each job, and cancels a job that all of them have left.

    A job is cancelled only if the request that made it waited for it and no waiting request has got
    an answer: a job continues if a client knows its id. Requests for one job meet by its id or
    Idempotency-Key if they reach the same gateway process; other processes' requests are unknown.

    Args:
        database: where jobs are recorded.
        jobs: cancels them.
    """

    def __init__(self, database: Database, jobs: JobsClient) -> None:
        self._database = database
        self._jobs = jobs
        self._waiting: dict[str, _Waiting] = {}
        self._cancelling: set[asyncio.Task[None]] = set()

    def join(self, accepted: AcceptedJob) -> None:
        """Count a request that begins to wait for its job."""
        new = _Waiting(0, accepted.is_new)
        self._waiting.setdefault(accepted.job_id, new).count += 1

    def leave(self, accepted: AcceptedJob, *, is_answered: bool) -> None:
        """Count a request as waiting no more; cancels the job if it was the last one.

        Args:
            accepted: the job.
            is_answered: the client got an answer; False: it has left.
        """
        waiting = self._waiting[accepted.job_id]
        waiting.count -= 1
        waiting.is_bound &= not is_answered
        if waiting.count == 0:
            del self._waiting[accepted.job_id]
            if waiting.is_bound:
                self.cancel_abandoned(accepted.job_id)

    def count(self, job_id: str) -> int:
        """Return how many requests wait for a job."""
        waiting = self._waiting.get(job_id)
        return 0 if waiting is None else waiting.count

    def cancel_abandoned(self, job_id: str) -> None:
        """Cancel the job of a client that has left, in the background; frees its Idempotency-Key.

        Ray Serve cancels the request of such a client, and again if it does not end; so this must
        not be part of the request. The job may appear only later, as its submission goes on.
        """
        task = asyncio.create_task(self._cancel_abandoned(job_id), context=context_of_ids(job_id))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel_abandoned(self, job_id: str) -> None:
        tries = outages = 0
        while tries < TRIES and outages < OUTAGE_TRIES:
            if self.count(job_id):
                return
            try:
                if await self._cancel(job_id):
                    return
            except CascadeError as error:
                logger.warning("an abandoned job is not cancelled yet: %s", error)
                outages += 1
                await asyncio.sleep(OUTAGE_PAUSE_S)
            else:
                tries += 1
                await asyncio.sleep(PAUSE_S)

    async def _cancel(self, job_id: str) -> bool:
        """Cancel a job; False if it is not recorded (yet)."""
        # The key is freed first: an equal request that comes now gets a job of its own.
        await self._database.run(self._database.jobs.release_idempotency_key, job_id)
        if await self._jobs.cancel(job_id):
            return True
        job = await self._database.run(self._database.jobs.get, job_id)
        return job is not None and job.is_terminal
