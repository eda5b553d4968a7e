"""The Gateway deployment: Serve's ingress around the HTTP application, and its way to Jobs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import FastAPI
from ray import serve as ray_serve
from ray.exceptions import TaskCancelledError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatusOverview

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.errors import Cancelled, CascadeError, NotReady
from cascade_core.request import GenerationRequest
from serve.fleet import readiness, running_replicas
from serve.gateway.application import Services, create_app
from serve.gateway.rejection_cache import RecentRefusals
from serve.handle_errors import is_lost, translated
from serve.moderation.moderator import Moderator, load_checkers
from serve.proxies import haproxy
from serve.settings import Settings
from serve.storage.open_stores import open_stores, until_available
from serve.storage.records import Claim, JobOwner
from serve.telemetry.log import configure_logging, context_of_ids
from serve.telemetry.metrics import RefusalMetrics
from serve.telemetry.tracing import configure_tracing, pack_context

SUBMIT_TRIES, RETRY_PAUSE_S = 3, 1.0

logger = logging.getLogger(__name__)


class HandleDoor:
    """The gateway's way to the Jobs deployment."""

    def __init__(self, jobs: DeploymentHandle) -> None:
        self._jobs = jobs
        self._refusals = RecentRefusals()
        self._cancelling: set[asyncio.Task[bool]] = set()

    async def submit(
        self,
        request: GenerationRequest,
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        claim: Claim,
    ) -> str:
        """Record and start a job; returns its id, or that of the job it was accepted as before.

        Raises:
            NotReady: the service is draining, or the process that runs jobs dies again and again.
            IdempotencyMismatch: the claim was made for another request.
            RateLimited: too many jobs are open.
        """
        arguments = (request.to_dict(), client_state, owner, claim, pack_context())
        with self._refusals.asking(owner):
            return await self._submit(arguments)

    async def _submit(self, arguments: tuple[Any, ...]) -> str:
        for attempt in range(1, SUBMIT_TRIES + 1):
            try:
                job_id: str = await self._jobs.submit.remote(*arguments)
            except Exception as error:
                # Whether the job was recorded is unknown; the claim makes asking again safe.
                if not is_lost(error) or attempt == SUBMIT_TRIES:
                    raise _translated(error) from error
                await asyncio.sleep(RETRY_PAUSE_S)
            else:
                return job_id
        raise AssertionError("the loop returns or raises")

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job wherever it runs; False if it had already ended."""
        # In a context of its own: Serve cancels the calls of a request whose client has left, and
        # this one is what is left to be done then.
        task = asyncio.create_task(self._cancel(job_id), context=context_of_ids(job_id))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)
        return await asyncio.shield(task)

    async def _cancel(self, job_id: str) -> bool:
        was_open: bool = await _asked(self._jobs.cancel.remote(job_id))
        if was_open:
            try:
                await self._jobs.broadcast("stop_calls", job_id).results_async()
            except Exception as error:  # it has ended all the same; its work stops a little later
                logger.warning("stopping the work of a cancelled job", exc_info=error)
        return was_open

    async def replicas(self) -> dict[str, int]:
        """Return how many replicas of each deployment answer."""
        return running_replicas(await _application())

    async def ready(self) -> dict[str, str]:
        """Return each deployment's state: ``ready``, or why it is not."""
        return readiness(await _application())


class Gateway:
    """Serve's ingress; the application itself is :func:`serve.gateway.application.create_app`."""

    def __init__(self, settings: Settings, jobs: DeploymentHandle) -> None:
        configure_logging(settings)
        configure_tracing(settings, "gateway")
        database, blobs = open_stores(settings)
        if not until_available(database.keys.all):
            answered = "nobody is" if haproxy.is_on() else "requests from this machine only are"
            logger.warning("no API keys: %s answered", answered)
        checkpoint = open_checkpoint(settings.model_source(), components=())
        self._services = Services(
            settings=settings,
            database=database,
            blobs=blobs,
            checkpoint=checkpoint,
            jobs=HandleDoor(jobs),
            moderator=Moderator(load_checkers(settings, checkpoint), RefusalMetrics().refused),
            knows_clients=not haproxy.is_on(),
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the ASGI application; Serve calls this once, after the constructor."""
        return create_app(self._services)


async def _application() -> ApplicationStatusOverview:
    """Return what Serve says of this application.

    Raises:
        NotReady: it says nothing.
    """
    try:
        status = await asyncio.to_thread(ray_serve.status)
        return status.applications[ray_serve.get_replica_context().app_name]
    except Exception as error:  # of Ray, gRPC or none at all; while the head restarts, all occur
        raise NotReady("the cluster does not say what runs") from error


async def _asked(response: Any) -> Any:
    """Await a handle's answer; whatever fails is one of our errors."""
    try:
        return await response
    except Exception as error:
        raise _translated(error) from error


def _translated(error: Exception) -> CascadeError:
    if isinstance(error, TaskCancelledError):
        return Cancelled("the call was cancelled, as its client has left")
    lost = NotReady("the job service restarts; try again in a few seconds")
    return translated(error, lost, NotReady("the job service does not start"))
