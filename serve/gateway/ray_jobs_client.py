"""The gateway's client of the Jobs deployment, through its Ray Serve handle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatusOverview

from cascade_core.errors import Cancelled, CascadeError, NotReady
from cascade_core.request import GenerationRequest
from serve.batched_calls import TIMEOUT_S, BatchedCalls
from serve.fleet import application_status, readiness, running_replicas, starting_replicas
from serve.gateway.jobs_client import RateLimitCache, ReplicaCount
from serve.handle_errors import is_cancelled, is_lost, translated
from serve.storage.job_parts.choice import Choice
from serve.storage.records import JobIdentity, JobOwner
from serve.telemetry.log import context_of_ids
from serve.telemetry.tracing import pack_context

SUBMIT_TRIES, RETRY_PAUSE_S = 3, 1.0

logger = logging.getLogger(__name__)


class RayJobsClient:
    """Reaches the Jobs deployment through its Ray Serve handle; a `JobsClient`.

    Args:
        jobs: the deployment's handle.
        timeout_s: how long a call to all replicas may take.
    """

    def __init__(self, jobs: DeploymentHandle, timeout_s: float = TIMEOUT_S) -> None:
        self._jobs = jobs
        self._timeout_s = timeout_s
        self._limits = RateLimitCache()
        self._cancelling: set[asyncio.Task[bool]] = set()
        # In few calls, as a thousand streams may open at once.
        self._watch_calls = BatchedCalls(self._send_watched, timeout_s=timeout_s)

    async def submit(
        self,
        request: GenerationRequest,
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        identity: JobIdentity,
        *,
        is_watched: bool,
    ) -> str:
        """Record and start a job; returns its id, or the id of an equal earlier job.

        Raises:
            NotReady: the service is draining, or the Jobs process died in every try.
            IdempotencyMismatch: the id or key was used for another request.
            RateLimited: too many jobs are open.
        """
        made = request.to_dict()
        arguments = (made, client_state, owner, identity, pack_context(), is_watched)
        with self._limits.submitting(owner):
            job_id: str = await self._repeated(self._jobs.submit, *arguments)
            return job_id

    async def continue_job(
        self, job_id: str, owner: JobOwner, choice: Choice, identity: JobIdentity
    ) -> None:
        """Finish the chosen images of an owner's waiting job; a repeated request changes nothing.

        Raises:
            NotReady: the service is draining, or the Jobs process died in every try.
            Conflict: the job does not wait, or was continued by another request.
            IdempotencyMismatch: the key was used for another choice.
            RateLimited: too many jobs are open.
        """
        with self._limits.submitting(owner):
            await self._repeated(self._jobs.continue_job, job_id, choice, identity)

    async def redo_job(
        self, job_id: str, owner: JobOwner, indices: Sequence[int], identity: JobIdentity
    ) -> None:
        """Compose images of an owner's waiting job anew; a repeated request changes nothing.

        Raises:
            NotReady: the service is draining, or the Jobs process died in every try.
            Conflict: the job does not wait, or was composed anew too often.
            IdempotencyMismatch: the key was used for other images.
            RateLimited: too many jobs are open.
        """
        with self._limits.submitting(owner):
            await self._repeated(self._jobs.redo_job, job_id, indices, identity)

    async def _repeated(self, method: DeploymentHandle, *arguments: Any) -> Any:
        """Call a method until a process lives long enough to answer."""
        for attempt in range(1, SUBMIT_TRIES + 1):
            try:
                return await method.remote(*arguments)
            except Exception as error:
                # Whether the request was recorded is unknown; its identity makes another try safe.
                if not is_lost(error) or attempt == SUBMIT_TRIES:
                    raise _translated(error) from error
                await asyncio.sleep(RETRY_PAUSE_S)
        raise AssertionError("the loop returns or raises")

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job in whichever replica runs it; False if it had already ended."""
        # In a context of its own: Serve cancels the calls of a request whose client has left, and
        # this call must outlive that request.
        task = asyncio.create_task(self._cancel(job_id), context=context_of_ids(job_id))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)
        return await asyncio.shield(task)

    async def _cancel(self, job_id: str) -> bool:
        was_open: bool = await _answer_of(self._jobs.cancel.remote(job_id))
        if was_open:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._broadcast("stop_calls", job_id)
            # Ray also raises CancelledError. The job has ended all the same; its calls stop later.
            except (Exception, asyncio.CancelledError) as error:
                logger.warning("stopping the calls of a cancelled job failed", exc_info=error)
        return was_open

    async def _broadcast(self, method: str, *args: Any) -> None:
        await self._jobs.broadcast(method, *args).results_async()

    def watch(self, job_id: str) -> None:
        """Tell all replicas in the background; if that fails, the job goes on without previews."""
        self._watch_calls.add([job_id])

    async def _send_watched(self, job_ids: list[str]) -> None:
        await self._broadcast("watch", job_ids)

    async def replicas(self) -> dict[str, ReplicaCount]:
        """Return how many replicas each deployment has."""
        application = await _application_status()
        starting = starting_replicas(application)
        running = running_replicas(application)
        return {name: ReplicaCount(count, starting[name]) for name, count in running.items()}

    async def ready(self) -> dict[str, str]:
        """Return each deployment's state: ``ready``, or why it is not."""
        return readiness(await _application_status())


async def _application_status() -> ApplicationStatusOverview:
    """Return Serve's status of this application.

    Raises:
        NotReady: Serve does not answer.
    """
    try:
        name = ray_serve.get_replica_context().app_name
        return await asyncio.to_thread(application_status, name)
    except Exception as error:  # of Ray, gRPC or Python; while the head restarts, all occur
        raise NotReady("the cluster does not say what runs") from error


async def _answer_of(response: Any) -> Any:
    """Await a handle's answer; every failure becomes one of our errors."""
    try:
        return await response
    except Exception as error:
        raise _translated(error) from error


def _translated(error: Exception) -> CascadeError:
    if is_cancelled(error):
        return Cancelled("the call was cancelled, as its client has left")
    lost = NotReady("the job service restarts; try again in a few seconds")
    return translated(error, lost, NotReady("the job service does not start"))
