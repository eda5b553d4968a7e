"""A job's durable life: one DBOS workflow, Stage C, then B, then A, each a recorded step.

A step that finished is never repeated: its result is in the blob store and its end in DBOS'
database, so a killed process resumes after the last finished step. Workflow rows hold ids and
seconds; latents and pixels live in the blob store. A step may still run twice when a process dies
between the two writes, so each first looks for what it would make.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID

from cascade_core.errors import (
    Cancelled,
    CannotBeServed,
    CascadeError,
    ContentRefused,
    Internal,
    NotFound,
    NotReady,
    OutOfMemory,
    StageLost,
)
from cascade_core.handoff import StageCLatent
from cascade_core.request import GenerationRequest
from serve import store
from serve.capacity import Capacity
from serve.db import Database
from serve.deadlines import deadline_exceeded, seconds_left
from serve.deaths import count_death
from serve.demand import Demand
from serve.gate import Gate
from serve.job_warnings import add_warnings, copy_warnings
from serve.line import PREVIEW_WORK, stage_work, stages_of
from serve.log import log_context
from serve.metrics import JobMetrics
from serve.records import JobState, LatentRow, OpenJob, StageCUse, utc_now
from serve.replica import Message
from serve.stage_client import StageClient, StageResult
from serve.store import BlobStore
from serve.turns import Turns

logger = logging.getLogger(__name__)


@DBOS.dbos_class()
class JobWorkflow(DBOSConfiguredInstance):
    """Runs jobs through the three stages.

    Args:
        database: where jobs, images and latents are recorded.
        blobs: where their bytes are.
        stages: the clients of stages ``c``, ``b`` and ``a``.
        turns: in which order calls get to each stage.
        demand: counts the work that is on its way to each stage.
        reusable: fingerprint of the model whose latents may be used again; None: none may.
        gate: what Stage C composed passes it before Stage B.
        metrics: counts ended jobs.
        on_end: called with the job's id after it reached its end state.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        stages: dict[str, StageClient],
        turns: dict[str, Turns],
        demand: Demand,
        reusable: str | None,
        gate: Gate,
        metrics: JobMetrics,
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__("jobs")
        self._database = database
        self._blobs = blobs
        self._stages = stages
        self._turns = turns
        self._demand = demand
        self._reusable = reusable
        self._gate = gate
        self._metrics = metrics
        self._on_end = on_end
        self._open_jobs: dict[str, OpenJob] = {}
        self._calls: dict[str, dict[asyncio.Task[StageResult], str]] = {}
        self._capacity = Capacity()
        self._outages: set[str] = set()
        self._given_up: set[str] = set()

    @DBOS.workflow()
    async def run(self, job_id: str) -> None:
        """Bring one job to exactly one end state."""
        with log_context(job_id=job_id):
            state: JobState = "succeeded"
            error = None
            try:
                await self._run_images(job_id)
            except Cancelled:
                state = "cancelled"
            except ContentRefused as refusal:
                await self._gate.wipe(job_id)
                state, error = "failed", refusal.to_dict()
            except CascadeError as failure:
                state, error = "failed", failure.to_dict()
            except Exception:
                logger.exception("job failed unexpectedly")
                state, error = "failed", Internal("the job failed unexpectedly").to_dict()
            await self._end(job_id, state, error)

    @DBOS.workflow()
    async def run_image(self, job_id: str, index: int) -> None:
        """Make one of several images; a child workflow, so that images overtake each other."""
        with log_context(job_id=job_id):
            await self._run_image(job_id, index)

    @DBOS.step()
    async def stage_c(self, job_id: str, index: int) -> float:
        """Make and store the Stage C latent; returns the model's seconds."""
        job = await self._open(job_id)
        latent_id = job.images[index].latent_id
        if await asyncio.to_thread(self._database.latent, latent_id) is not None:
            return 0.0
        request, seconds = job.request.for_image(index), 0.0
        use: StageCUse = "reused"
        data = await self._equal_latent(request, job)
        if data is None:
            data, seconds = await self._call(job_id, index, "c", request.to_dict())
            use = "ran"
        latent = StageCLatent.decode(data)
        await self._blobs.put(store.latent_key(latent_id), data)
        row = LatentRow(
            id=latent_id, job_id=job_id, index=index, model=latent.model, request=latent.request
        )
        await asyncio.to_thread(self._database.save_latent, row, seconds, use)
        return seconds

    @DBOS.step()
    async def stage_b(self, job_id: str, index: int) -> float:
        """Expand the stored latent; returns the model's seconds."""
        job = await self._open(job_id)
        latent_key = store.latent_key(job.images[index].latent_id)
        latent = await self._blobs.get_known(latent_key, "this latent")
        await self._pass_gate(job, index, latent)
        request = job.request.for_image(index).to_dict()
        data, seconds = await self._call(job_id, index, "b", latent, request)
        await self._blobs.put(store.handoff_key(job_id, index), data)
        await asyncio.to_thread(self._database.add_cost, job_id, "b", seconds)
        return seconds

    @DBOS.step()
    async def stage_a(self, job_id: str, index: int) -> float:
        """Decode to the picture and store it; returns the model's seconds."""
        job = await self._open(job_id)
        image = job.images[index]
        if image.ready_at is not None:
            return 0.0
        handoff_key = store.handoff_key(job_id, index)
        latent = await self._blobs.get_known(handoff_key, "the Stage B latent of this job")
        data, seconds = await self._call(job_id, index, "a", latent, image.id, image.latent_id)
        await self._blobs.put(store.image_key(image.id, job.request.format), data)
        await asyncio.to_thread(self._database.save_image, image.id, len(data), seconds)
        await self._blobs.delete(handoff_key)
        return seconds

    def cancel(self, job_id: str) -> None:
        """Stop the job's calls in this process; the replicas free their rows within one step."""
        self._open_jobs.pop(job_id, None)
        self._stop_calls(job_id)

    def _give_up(self, job_id: str) -> None:
        """Stop the other images of a job that one of them has failed."""
        self._given_up.add(job_id)
        self._stop_calls(job_id)

    def _stop_calls(self, job_id: str) -> None:
        for task in self._calls.get(job_id, ()):
            if task is not asyncio.current_task():
                task.cancel()

    def set_outages(self, stages: set[str]) -> None:
        """Fail the calls of stages that do not start, those under way and those to come."""
        self._outages = stages
        for calls in list(self._calls.values()):
            for task, stage in calls.items():
                if stage in stages:
                    task.cancel()

    async def _run_images(self, job_id: str) -> None:
        job = await self._open(job_id)
        if job.request.n == 1:
            await self._run_image(job_id, 0)
            return
        children = []
        for index in range(job.request.n):
            with SetWorkflowID(f"{job_id}-{index}"):
                children.append(await DBOS.start_workflow_async(self.run_image, job_id, index))
        results = await asyncio.gather(
            *(child.get_result() for child in children), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:  # one that was refused has cancelled the others
            raise min(failures, key=lambda failure: isinstance(failure, Cancelled))

    async def _run_image(self, job_id: str, index: int) -> None:
        job = await self._open(job_id)
        work = {stage: stage_work(stage, job.request) for stage in stages_of(job.request)}
        if self._gate.is_watched:
            work.setdefault("c", PREVIEW_WORK)
        with self._demand.image(work) as done:
            if job.request.kind == "generate":
                await self.stage_c(job_id, index)
                done("c")
            await self.stage_b(job_id, index)
            done("b")
            await self.stage_a(job_id, index)

    async def _pass_gate(self, job: OpenJob, index: int, latent: bytes) -> None:
        """Have a composition checked; one that is refused stops the job's other images, too."""
        try:
            async with self._in_time(job.id):
                preview = await self._gate.check(job, index, latent)
        except ContentRefused:
            self._give_up(job.id)
            raise
        if preview is not None and job.request.kind == "generate":
            steps = job.request.steps
            await self._show(job.id, index, "c", steps, steps, preview)

    async def _equal_latent(self, request: GenerationRequest, job: OpenJob) -> bytes | None:
        """Return the bytes of a stored latent that Stage C would make again; None if none is."""
        if self._reusable is None:
            return None
        row = await asyncio.to_thread(
            self._database.equal_latent, self._reusable, request, job.owner
        )
        if row is None:
            return None
        with suppress(NotFound):  # deleted in this moment
            latent = StageCLatent.decode(await self._blobs.get(store.latent_key(row.id)))
            await asyncio.to_thread(copy_warnings, self._database, row.job_id, job.id)
            return replace(latent, request=request).encode()
        return None

    async def _end(self, job_id: str, state: JobState, error: dict[str, str] | None) -> None:
        await asyncio.to_thread(self._database.finish_job, job_id, state, error)
        logger.info("job %s", state)
        self._given_up.discard(job_id)
        job = self._open_jobs.pop(job_id, None)
        if job is not None:
            latency_s = (utc_now() - job.created_at).total_seconds()
            self._metrics.ended(job.request.kind, state, (error or {}).get("code", ""), latency_s)
        self._on_end(job_id)

    async def _open(self, job_id: str) -> OpenJob:
        """Return the job as it was when this process took it up; Cancelled if it has ended."""
        job = self._open_jobs.get(job_id)
        if job is None:
            job = await asyncio.to_thread(self._database.open_job, job_id)
        if job is None or job_id in self._given_up:
            raise Cancelled("the job was cancelled")
        self._open_jobs[job_id] = job
        return job

    async def _call(self, job_id: str, index: int, stage: str, *args: Any) -> tuple[bytes, float]:
        """Call a stage in turn, until the job's deadline.

        Raises:
            Cancelled: the job was cancelled.
            DeadlineExceeded: it was not done in time.
            CannotBeServed: no replica can run it.
            CascadeError: the stage failed.
        """
        async with self._in_time(job_id):
            job = self._open_jobs.get(job_id)
            if job is None or job_id in self._given_up:  # since the step began
                raise Cancelled("the job was cancelled")
            call = self._in_turn(job, index, stage, args)
            try:
                result = await self._cancellable(job_id, stage, call)
            except OutOfMemory as error:
                raise self._capacity.ran_out(stage, job.request) from error
            self._capacity.ran(stage, job.request)
            return result.data, result.seconds

    @asynccontextmanager
    async def _in_time(self, job_id: str) -> AsyncIterator[None]:
        """Stop what is in the block at the job's deadline, with DeadlineExceeded."""
        left_s = await asyncio.to_thread(seconds_left, self._database, job_id)
        try:
            async with asyncio.timeout(left_s):
                yield
        except TimeoutError:
            raise deadline_exceeded() from None

    async def _in_turn(
        self, job: OpenJob, index: int, stage: str, args: tuple[Any, ...]
    ) -> StageResult:
        async def on_message(message: Message) -> None:
            try:
                await self._progress(job.id, index, stage, message)
            except NotReady as error:  # no reason to do the work once more
                logger.warning("progress of stage %s is not shown: %s", stage, error)

        async def on_death() -> int:
            return await asyncio.to_thread(count_death, self._database, job.id, f"{stage}{index}")

        self._capacity.check(stage, job.request)
        async with self._turns[stage].turn(job.owner.turns, stage_work(stage, job.request)):
            self._capacity.check(stage, job.request)  # others may have learnt it meanwhile
            client = self._stages[stage]
            try:
                return await client.call(*args, on_message=on_message, on_death=on_death)
            except StageLost:
                # Each of its images would take replicas along; the next has its turn right after.
                self._give_up(job.id)
                raise

    async def _cancellable(
        self, job_id: str, stage: str, call: Coroutine[Any, Any, StageResult]
    ) -> StageResult:
        """Await a call so that :meth:`cancel` and :meth:`set_outages` can end it."""
        task = asyncio.create_task(call)
        calls = self._calls.setdefault(job_id, {})
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
                self._calls.pop(job_id, None)

    async def _progress(self, job_id: str, index: int, stage: str, message: Message) -> None:
        if message["type"] == "warning":
            await asyncio.to_thread(add_warnings, self._database, job_id, [message["text"]])
            return
        if message["type"] == "started":
            await asyncio.to_thread(self._database.start_job, job_id)
            return
        preview = message.get("preview")
        if stage == "c" and self._gate.is_watched:
            preview = None
        await self._show(job_id, index, stage, message["step"], message["steps"], preview)

    async def _show(
        self, job_id: str, index: int, stage: str, step: int, steps: int, preview: bytes | None
    ) -> None:
        key = None
        if preview is not None:
            key = store.preview_key(job_id, index, stage, step)
            await self._blobs.put(key, preview)
        await asyncio.to_thread(self._database.progress, job_id, stage, step, steps, index, key)
