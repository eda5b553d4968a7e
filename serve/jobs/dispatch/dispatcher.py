"""Dispatches the calls of jobs to the stages: in fair order, within size limits, stoppable."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from opentelemetry import trace

from cascade_core.errors import Cancelled, CannotBeServed, OutOfMemory, StageLost
from cascade_core.families.spec import PREVIEW_WORK, StageSpec
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.jobs.dispatch.size_limits import SizeLimits
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageClient, StageResult
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.messages import ImageIds, StageMessage
from serve.storage.job_store import JobStore
from serve.storage.records import OpenJob
from serve.storage.retry import RetryingDatabase
from serve.telemetry.metrics import QueueMetrics

Source = bytes | Callable[[], Awaitable[bytes]] | None
"""What a stage takes, or how to read it once the call has its slot: what is large must not wait in
memory."""

logger = logging.getLogger(__name__)


class Dispatcher:
    """Calls the stages for the jobs of this process.

    Args:
        database: where crashes of replicas are counted.
        stages: the client of each stage, by its key.
        previewers: the clients that draw kept outputs small, by the key of their stage.
        queues: the fair queue of each stage, by its key.
        watched_jobs: the jobs that previews are drawn for.
        metrics: records how long calls wait in the queues.
    """

    def __init__(
        self,
        database: RetryingDatabase,
        stages: dict[str, StageClient],
        previewers: dict[str, StageClient],
        queues: dict[str, FairQueue],
        watched_jobs: WatchedJobs,
        metrics: QueueMetrics,
    ) -> None:
        self._database = database
        self._watched_jobs = watched_jobs
        self._metrics = metrics
        self._stages = stages
        self._previewers = previewers
        self._queues = queues
        self._size_limits = SizeLimits()
        self._outages: set[str] = set()
        self._given_up: set[str] = set()
        self._running: dict[str, dict[asyncio.Task[StageResult], str]] = {}

    async def call(
        self,
        job: OpenJob,
        index: int,
        stage: StageSpec,
        source: Source,
        on_message: OnMessage,
    ) -> StageResult:
        """Call a stage for one image of a job, as soon as it gets a slot.

        Args:
            job: whose image it is.
            index: of the image.
            stage: that is called.
            source: the output of the stage before, or what the first stage takes from the store.
            on_message: told what the stage reports.

        Raises:
            Cancelled: the job was stopped meanwhile.
            CannotBeServed: no replica can run it.
            CascadeError: the stage failed, or ``source`` could not be read.
        """
        work = self._call(job, index, stage, source, on_message)
        try:
            result = await self._stoppable(job.id, stage.key, work)
        except OutOfMemory as error:
            raise self._size_limits.note_out_of_memory(stage.key, job.request) from error
        self._size_limits.note_success(stage.key, job.request)
        return result

    async def preview(self, job: OpenJob, index: int, stage: StageSpec, output: bytes) -> bytes:
        """Draw a small preview of a kept output, in the queue of its stage; returns a WebP file.

        Raises:
            Cancelled: the job was stopped meanwhile.
            CannotBeServed: no replica of the stage runs, and none can be started.
            CascadeError: the output could not be drawn.
        """
        work = self._preview(job, index, stage.key, output)
        return (await self._stoppable(job.id, stage.key, work)).data

    def stop(self, job_id: str) -> None:
        """Stop the calls of a job; the replicas free their rows within two steps."""
        for task in self._running.get(job_id, ()):
            if task is not asyncio.current_task():
                task.cancel()

    def give_up(self, job_id: str) -> None:
        """Stop the other images of a job after one of them has failed the job."""
        self._given_up.add(job_id)
        self.stop(job_id)

    def is_given_up(self, job_id: str) -> bool:
        """Return True if an image of this job has failed the job."""
        return job_id in self._given_up

    def forget(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._given_up.discard(job_id)

    def set_outages(self, stages: set[str]) -> None:
        """Fail the running and all further calls of stages that do not start."""
        self._outages = stages
        for calls in list(self._running.values()):
            for task, stage in calls.items():
                if stage in stages:
                    task.cancel()

    async def _call(
        self,
        job: OpenJob,
        index: int,
        stage: StageSpec,
        source: Source,
        on_message: OnMessage,
    ) -> StageResult:
        key, image = stage.key, job.images[index]
        self._size_limits.check(key, job.request)
        client, on_crash = self._stages[key], self._on_crash(job, f"{stage.name}{index}")
        request = job.request_of(index)
        ids = ImageIds(image_id=image.id, latent_id=image.latent_id)
        async with self._slot(job, key, stage.work(request)) as queue_s:
            began_s = time.monotonic()
            self._size_limits.check(key, job.request)  # another call may have failed meanwhile
            data = await source() if callable(source) else source
            task = request.to_dict(), data, ids, self._watched_jobs.is_watched(job.id)
            with self._sparing_replicas(job):
                result = await client.call(*task, on_message=on_message, on_crash=on_crash)
            trace.get_current_span().set_attribute("cascade.model_s", result.seconds)
            logger.info(
                "stage %s, image %d: %.2f s for its slot, %.2f s for the call, %.2f s on the model",
                *(key, index, queue_s, time.monotonic() - began_s, result.seconds),
            )
            return result

    async def _preview(self, job: OpenJob, index: int, stage: str, output: bytes) -> StageResult:
        client, on_crash = self._previewers[stage], self._on_crash(job, f"preview{index}")
        async with self._slot(job, stage, PREVIEW_WORK):
            with self._sparing_replicas(job):
                return await client.call(output, on_message=_ignore, on_crash=on_crash)

    @asynccontextmanager
    async def _slot(self, job: OpenJob, stage: str, work: float) -> AsyncIterator[float]:
        """Wait for a slot at a stage for the job's user; yields the seconds that it waited."""
        asked_s = time.monotonic()
        async with self._queues[stage].slot(job.owner.queue_user, work):
            queue_s = time.monotonic() - asked_s
            self._metrics.waited(stage, queue_s)
            span = trace.get_current_span()
            span.add_event("its slot")
            span.set_attribute("cascade.queue_s", queue_s)
            span.set_attribute("cascade.turn_s", queue_s)  # the older name, for saved searches
            yield queue_s

    @contextmanager
    def _sparing_replicas(self, job: OpenJob) -> Iterator[None]:
        """Stop a job's other images when one has crashed replicas, as each image would."""
        try:
            yield
        except StageLost:  # before its slot is free, as the next image gets it at once
            self.give_up(job.id)
            raise

    def _on_crash(self, job: OpenJob, call: str) -> OnCrash:
        async def on_crash() -> int:
            return await self._database.jobs.do(JobStore.count_crash, job.id, call)

        return on_crash

    async def _stoppable(
        self, job_id: str, stage: str, work: Coroutine[Any, Any, StageResult]
    ) -> StageResult:
        """Await a call so that :meth:`stop` and :meth:`set_outages` can end it."""
        task = asyncio.create_task(work)
        calls = self._running.setdefault(job_id, {})
        calls[task] = stage
        if stage in self._outages:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise  # this process shuts down and the job goes on elsewhere, or its time is up
            if stage in self._outages:
                message = f"no replica of stage {stage.upper()} runs, and none can be started"
                raise CannotBeServed(message) from None
            raise Cancelled("the job was cancelled") from None
        finally:
            del calls[task]
            if not calls:
                self._running.pop(job_id, None)


def _ignore(_message: StageMessage) -> None:
    """Drawing a latent reports no progress."""
