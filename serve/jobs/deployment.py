"""The Jobs deployment: accepts, cancels and drains jobs; DBOS runs their workflows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from dbos import DBOS, SetWorkflowID
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle
from ulid import ULID

from cascade_core.errors import NotFound, NotReady
from cascade_core.families.spec import Family
from cascade_core.job_states import LIVE_STATES
from cascade_core.request import GenerationRequest
from serve.jobs.dbos_runtime import delete_workflows, launch_dbos, migrate_dbos
from serve.jobs.event_notifier import EventNotifier, Gateways
from serve.jobs.recovery import Recovery, count_ended
from serve.jobs.stage_monitor import LOOK_EVERY_S, StageMonitor
from serve.jobs.wiring import build_services
from serve.jobs.workflow_serializer import ENGINE_ERRORS
from serve.maintenance.retention import RetentionWorker
from serve.messages import CallContext
from serve.periodic import every
from serve.served_models import ServedModel, open_models
from serve.settings import Settings
from serve.storage.job_parts.choice import Choice
from serve.storage.job_parts.parts import job_of_run, run_id
from serve.storage.job_store import JobStore
from serve.storage.leases import LeaseStore
from serve.storage.open_stores import open_stores, until_available
from serve.storage.records import Job, JobIdentity, JobOwner, NewJob, OpenLimits, PlannedImage
from serve.storage.retry import retry_until_ready
from serve.storage.waiting_store import ContinuedJob, RedoneJob
from serve.telemetry.log import configure_logging
from serve.telemetry.tracing import configure_tracing

DRAIN_POLL_S = 0.05
"""Between looks at the open jobs while the service drains."""
DRAIN_ANSWER_S = 5.0
"""Beyond its time-out, a drain waits this long for the database to say which jobs are open."""
COUNT_EVERY_S = 10.0
_DRAINING = "the service is shutting down; try again in a minute"
_OWN_THREADS = 3
"""Threads that use the database besides its own: one for heartbeats, two that accept jobs."""

logger = logging.getLogger(__name__)


class Jobs:
    """Runs the jobs of one replica rank; a restarted replica of that rank resumes them.

    Args:
        settings: the settings of the service.
        models: that make the images.
        handles: handles of the stages' deployments, by the stages' keys.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits constructors
        self,
        settings: Settings,
        models: Sequence[ServedModel],
        handles: dict[str, DeploymentHandle],
    ) -> None:
        configure_logging(settings)
        configure_tracing(settings, "jobs")
        self._database, blobs = await asyncio.to_thread(open_stores, settings, _OWN_THREADS)
        opened = open_models(models, settings.alias_names)
        services = build_services(settings, opened, handles, self._database, blobs)
        self._services, self._models, self._is_draining = services, opened, False
        self._limits = OpenLimits(
            settings.max_open_jobs, settings.max_open_jobs_per_user, settings.min_deadline_s
        )
        # Separate threads: a client's answer must not wait for the work of hundreds of jobs.
        self._accepting = ThreadPoolExecutor(2, "accept")
        leases, replica = LeaseStore(self._database), ray_serve.get_replica_context()
        rank, tag = replica.rank.rank, replica.replica_tag
        tell = Gateways(replica.app_name).notify_of_events
        self._database.on_events = EventNotifier(tell, services.watched_jobs).notify
        name = await retry_until_ready(partial(self._database.run, leases.acquire, rank, tag))
        await asyncio.to_thread(until_available, partial(migrate_dbos, settings.dbos_url))
        launch_dbos(settings.dbos_url, name)
        may_wait = timedelta(hours=settings.waiting_hours)
        recovery = Recovery(leases, name, self._start, services.metrics.ended, may_wait)
        set_outages = services.dispatcher.set_outages
        monitor = StageMonitor(self._database, handles, services.queues, set_outages)
        retention = RetentionWorker(self._database, blobs, settings, delete_workflows)
        self._tasks = [
            *recovery.run(),
            asyncio.create_task(every(LOOK_EVERY_S, monitor.look)),
            asyncio.create_task(every(COUNT_EVERY_S, self._count_jobs)),
            asyncio.create_task(retention.run_forever(lambda: recovery.is_leader)),
        ]

    async def submit(
        self,
        request: dict[str, Any],
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        identity: JobIdentity,
        context: CallContext,
        is_watched: bool = True,
    ) -> str:
        """Record a job and start it; returns its id as soon as the job is stored.

        A repeated request gets the id of the job that the first one made. Previews are drawn if
        the job ``is_watched``.

        Raises:
            NotReady: the service is draining.
            IdempotencyMismatch: the id or key was used for another request.
            RateLimited: too many jobs are open.
        """
        if self._is_draining:
            raise NotReady(_DRAINING)
        made = GenerationRequest.from_dict(request)
        job = _new_job(self._models.of(made).family, made, client_state, owner, identity, context)
        # Serve cancels this call if the client disconnects; a recorded job must still be started.
        return await asyncio.shield(self._accept(job, is_watched))

    async def continue_job(self, job_id: str, choice: Choice, identity: JobIdentity) -> None:
        """Finish the chosen images of a waiting job; a repeated request changes nothing.

        Args:
            job_id: of the job.
            choice: of images that it has.
            identity: recognises the request when it is sent again.

        Raises:
            NotReady: the service is draining.
            NotFound: there is no such job.
            Conflict: the job does not wait, or was continued by another request.
            IdempotencyMismatch: the key was used for another choice.
            RateLimited: too many jobs are open.
        """
        if self._is_draining:
            raise NotReady(_DRAINING)
        # As in `submit`: a continued job must be started, also if its client disconnects.
        await asyncio.shield(self._continue(job_id, choice, identity))

    async def redo_job(self, job_id: str, indices: Sequence[int], identity: JobIdentity) -> None:
        """Compose images of a waiting job anew; a repeated request changes nothing.

        Args:
            job_id: of the job.
            indices: of images that it has, each once.
            identity: recognises the request when it is sent again.

        Raises:
            NotReady: the service is draining.
            NotFound: there is no such job.
            Conflict: the job does not wait, or was composed anew too often.
            IdempotencyMismatch: the key was used for other images.
            RateLimited: too many jobs are open.
        """
        if self._is_draining:
            raise NotReady(_DRAINING)
        await asyncio.shield(self._redo(job_id, indices, identity))

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; False if it had already ended."""
        finish = partial(self._database.jobs.finish, job_id, "cancelled", if_in=LIVE_STATES)
        if not await self._database.run(finish):
            return False
        self._services.workflow.cancel(job_id)
        count = self._services.metrics.ended
        await self._database.run(count_ended, self._database, job_id, count)
        return True

    def stop_calls(self, job_id: str) -> None:
        """Stop the calls of a job that another replica has cancelled."""
        self._services.workflow.cancel(job_id)

    def watch(self, job_ids: Sequence[str]) -> None:
        """Draw previews for jobs that clients have begun to watch, whichever replica runs them."""
        for job_id in job_ids:
            self._services.watched_jobs.watch(job_id)

    def stop_accepting(self) -> None:
        """Refuse new jobs from now on; accepted jobs continue."""
        self._is_draining = True

    async def drain(self, timeout_s: float) -> int:
        """Wait until no job of any replica is open; returns how many are open after the timeout.

        Open jobs are not lost: they continue when the service starts again.

        Raises:
            NotReady: the database did not answer.
        """
        jobs = self._services.database.jobs
        try:
            async with asyncio.timeout(timeout_s + DRAIN_ANSWER_S):
                open_ids = await jobs.do(JobStore.open_ids)
        except TimeoutError:
            raise NotReady("the database did not say which jobs are open") from None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while open_ids:
                    await asyncio.sleep(DRAIN_POLL_S)
                    open_ids = await jobs.do(JobStore.open_ids)
        if open_ids:
            logger.warning("%d jobs go on at the next start", len(open_ids))
        return len(open_ids)

    def check_health(self) -> None:
        """Publish the calls of this replica that wait for each stage."""
        for stage, queue in self._services.queues.items():
            self._services.queue_metrics.waiting(stage, queue.waiting_calls, queue.waiting_cost)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return each stage's open and arriving work for an autoscaling policy."""
        return self._services.demand.stats()

    async def _accept(self, job: NewJob, is_watched: bool) -> str:
        watched_jobs, is_excluded, is_started = self._services.watched_jobs, False, False
        if is_watched:  # a request that is sent again may be that of an unwatched job
            watched_jobs.watch(job.id)
        else:  # first of all: a client may watch the job once it is recorded
            is_excluded = watched_jobs.exclude(job.id)
        try:
            earlier_id = await self._record(job)
            if earlier_id is None:
                is_started = await self._try_to_start(job.id)
        finally:
            if is_excluded and not is_started:
                watched_jobs.forget(job.id)
        return earlier_id or job.id

    async def _continue(self, job_id: str, choice: Choice, identity: JobIdentity) -> None:
        job = await self._known(job_id)
        request = choice.applied_to(job.request)
        left = self._models.of(job.request).family.after_stop(job.request)
        work = len(choice.indices) * sum(stage.work(request) for stage in left)
        route = [stage.key for stage in left]
        continued = ContinuedJob(
            job_id, job.owner, choice, identity, work, route, job.request.model
        )
        await self._go_on(job_id, partial(self._database.waiting.resume, continued, self._limits))

    async def _redo(self, job_id: str, indices: Sequence[int], identity: JobIdentity) -> None:
        job = await self._known(job_id)
        stages = self._models.route(job.request)
        latent_ids = {index: str(ULID()) for index in indices}
        work = len(indices) * sum(stage.work(job.request) for stage in stages)
        route = [stage.key for stage in stages]
        redone = RedoneJob(job_id, job.owner, latent_ids, identity, work, route, job.request.model)
        await self._go_on(job_id, partial(self._database.waiting.redo, redone, self._limits))

    async def _go_on(self, job_id: str, queue: Callable[[], str | None]) -> None:
        """Queue a job that waits, and start the part that begins, if one does."""
        part = await asyncio.get_running_loop().run_in_executor(self._accepting, queue)
        if part is not None:
            await self._try_to_start(run_id(job_id, part))

    async def _known(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            NotFound: there is none.
        """
        job = await self._database.run(self._database.jobs.get, job_id)
        if job is None:
            raise NotFound("there is no such job")
        return job

    async def _record(self, job: NewJob) -> str | None:
        loop = asyncio.get_running_loop()
        insert = partial(self._database.jobs.insert, job, self._limits)
        return await loop.run_in_executor(self._accepting, insert)

    async def _try_to_start(self, run_id: str) -> bool:
        """Start an accepted job; False if recovery has to start it in a few seconds."""
        try:
            await self._start(run_id)
        except ENGINE_ERRORS:
            logger.exception("job %s is accepted, but cannot be started yet", run_id)
            return False
        return True

    async def _start(self, run_id: str) -> None:
        """Start the workflow of a part of a job."""
        with SetWorkflowID(run_id):
            await DBOS.start_workflow_async(self._services.workflow.run, *job_of_run(run_id))

    async def _count_jobs(self) -> None:
        count = await self._database.run(self._database.jobs.count)
        self._services.metrics.open_jobs(count)


def _new_job(
    family: Family,
    request: GenerationRequest,
    client_state: dict[str, Any] | None,
    owner: JobOwner,
    identity: JobIdentity,
    context: CallContext,
) -> NewJob:
    images = []
    for index in range(request.n):
        image = request.for_image(index)
        images.append(
            PlannedImage(
                id=str(ULID()),
                index=index,
                latent_id=family.planned_latent_id(request, index) or str(ULID()),
                seed=image.seed,
                decoder_seed=image.decoder_seed,
            )
        )
    return NewJob(
        identity=identity,
        request=request,
        client_state=client_state,
        owner=owner,
        images=tuple(images),
        family=family,
        context=context,
    )
