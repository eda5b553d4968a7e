"""A job's durable life: one DBOS workflow, Stage C, then B, then A, each a recorded step.

A step that finished is never repeated: its result is in the blob store and its end in DBOS'
database, so a killed process resumes after the last finished step. Workflow rows hold ids and
seconds; latents and pixels live in the blob store. A step may still run twice when a process dies
between the two writes, so each first looks for what it would make.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID
from opentelemetry.trace import StatusCode

from cascade_core.errors import (
    Cancelled,
    CascadeError,
    ContentRefused,
    Internal,
    NotFound,
    NotReady,
)
from cascade_core.handoff import StageCLatent
from cascade_core.request import GenerationRequest
from serve import store
from serve.db import Database
from serve.deadlines import in_time
from serve.demand import Demand
from serve.gate import Gate
from serve.job_warnings import add_warnings, copy_warnings
from serve.line import PREVIEW_WORK, stage_work, stages_of
from serve.log import log_context
from serve.metrics import HandoffPart, JobMetrics
from serve.patience import until_ready
from serve.records import JobState, LatentRow, OpenJob, StageCUse, utc_now
from serve.replica import Message
from serve.stage_calls import StageCalls
from serve.store import BlobStore
from serve.tracing import Context, span, unpacked_context

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
ResultT = TypeVar("ResultT")


@DBOS.dbos_class()
class JobWorkflow(DBOSConfiguredInstance):
    """Runs jobs through the three stages.

    Args:
        database: where jobs, images and latents are recorded.
        blobs: where their bytes are.
        calls: the way to the stages.
        demand: counts the work that is on its way to each stage.
        reusable: fingerprint of the model whose latents may be used again; None: none may.
        gate: what Stage C composed passes it before Stage B.
        metrics: counts ended jobs and measures hand-offs.
        on_end: called with the job's id after it reached its end state.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        calls: StageCalls,
        demand: Demand,
        reusable: str | None,
        gate: Gate,
        metrics: JobMetrics,
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__("jobs")
        self._database = database
        self._blobs = blobs
        self._calls = calls
        self._demand = demand
        self._reusable = reusable
        self._gate = gate
        self._metrics = metrics
        self._on_end = on_end
        self._open_jobs: dict[str, OpenJob] = {}
        self._begun: set[str] = set()

    @DBOS.workflow()
    async def run(self, job_id: str) -> None:
        """Bring one job to exactly one end state."""
        context = await self._context(job_id)
        with (
            log_context(job_id=job_id),
            unpacked_context(context),
            span("job", job_id=job_id) as opened,
        ):
            state: JobState = "succeeded"
            error = None
            try:
                await self._run_images(job_id)
            except Cancelled:
                state = "cancelled"
            except ContentRefused as refusal:
                await until_ready(partial(self._gate.wipe, job_id))
                state, error = "failed", refusal.to_dict()
            except CascadeError as failure:
                state, error = "failed", failure.to_dict()
            except Exception:
                logger.exception("job failed unexpectedly")
                state, error = "failed", Internal("the job failed unexpectedly").to_dict()
            opened.set_attribute("cascade.state", state)
            if error is not None:
                opened.set_status(StatusCode.ERROR, error["code"])
            await self._end(job_id, state, error)

    @DBOS.workflow()
    async def run_image(self, job_id: str, index: int) -> None:
        """Make one of several images; a child workflow, so that images overtake each other."""
        with log_context(job_id=job_id), unpacked_context(await self._context(job_id)):
            await self._run_image(job_id, index)

    @DBOS.step()
    async def stage_c(self, job_id: str, index: int) -> float:
        """Make and store the Stage C latent; returns the model's seconds."""
        job = await self._open(job_id)
        latent_id = job.images[index].latent_id
        if await self._sql(self._database.latent, latent_id) is not None:
            return 0.0
        request, seconds = job.request.for_image(index), 0.0
        use: StageCUse = "reused"
        data = await self._equal_latent(request, job)
        if data is None:
            data, seconds = await self._call(job_id, index, "c", request.to_dict())
            use = "ran"
        latent = StageCLatent.decode(data)
        await self._keep("c", store.latent_key(latent_id), data)
        row = LatentRow(
            id=latent_id, job_id=job_id, index=index, model=latent.model, request=latent.request
        )
        await self._sql(self._database.save_latent, row, seconds, use)
        return seconds

    @DBOS.step()
    async def stage_b(self, job_id: str, index: int) -> float:
        """Expand the stored latent; returns the model's seconds."""
        job = await self._open(job_id)
        latent_key = store.latent_key(job.images[index].latent_id)
        latent = await self._known("c", latent_key, "this latent")
        await self._pass_gate(job, index, latent)
        request = job.request.for_image(index).to_dict()
        data, seconds = await self._call(job_id, index, "b", latent, request)
        await self._keep("b", store.handoff_key(job_id, index), data)
        await self._sql(self._database.add_cost, job_id, "b", seconds)
        return seconds

    @DBOS.step()
    async def stage_a(self, job_id: str, index: int) -> float:
        """Decode to the picture and store it; returns the model's seconds."""
        job = await self._open(job_id)
        image = job.images[index]
        if image.ready_at is not None:
            return 0.0
        handoff_key = store.handoff_key(job_id, index)
        latent = await self._known("b", handoff_key, "the Stage B latent of this job")
        data, seconds = await self._call(job_id, index, "a", latent, image.id, image.latent_id)
        await self._keep("a", store.image_key(image.id, job.request.format), data)
        await self._sql(self._database.save_image, image.id, len(data), seconds)
        await self._blobs.delete(handoff_key)
        return seconds

    def cancel(self, job_id: str) -> None:
        """Stop the job's calls in this process; the replicas free their rows within one step."""
        self._open_jobs.pop(job_id, None)
        self._calls.stop(job_id)

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
        if not self._gate.is_watched:
            return
        try:
            async with in_time(self._database, job.id):
                preview = await self._gate.check(job, index, latent)
        except ContentRefused:
            self._calls.give_up(job.id)
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
        await self._sql(self._database.finish_job, job_id, state, error)
        self._calls.forget(job_id)
        self._begun.discard(job_id)
        job, code = self._open_jobs.pop(job_id, None), (error or {}).get("code", "")
        outcome = f"{state} ({code})" if code else state
        if job is None:
            logger.info("job %s", outcome)
        else:
            latency_s = (utc_now() - job.created_at).total_seconds()
            logger.info("job %s after %.2f s", outcome, latency_s)
            self._metrics.ended(job.request.kind, state, code, latency_s)
        self._on_end(job_id)

    async def _context(self, job_id: str) -> Context:
        """Return the ids and the trace of the request that made the job, if it can go on."""
        with suppress(CascadeError):  # running it fails likewise, and tells
            return (await self._open(job_id)).context
        return {}

    async def _open(self, job_id: str) -> OpenJob:
        """Return the job as it was when this process took it up; Cancelled if it has ended."""
        job = self._open_jobs.get(job_id)
        if job is None:
            job = await self._sql(self._database.open_job, job_id)
        if job is None or self._calls.is_given_up(job_id):
            raise Cancelled("the job was cancelled")
        self._open_jobs[job_id] = job
        return job

    async def _call(self, job_id: str, index: int, stage: str, *args: Any) -> tuple[bytes, float]:
        """Call a stage until the job's deadline; returns its result and the model's seconds.

        Raises:
            Cancelled: the job was cancelled.
            DeadlineExceeded: it was not done in time.
            CannotBeServed: no replica can run it.
            CascadeError: the stage failed.
        """

        async def on_message(message: Message) -> None:
            try:
                await self._progress(job_id, index, stage, message)
            except NotReady as error:  # no reason to do the work once more
                logger.warning("progress of stage %s is not shown: %s", stage, error)

        async with in_time(self._database, job_id):
            job = self._open_jobs.get(job_id)
            if job is None or self._calls.is_given_up(job_id):  # since the step began
                raise Cancelled("the job was cancelled")
            with span(f"stage {stage}", image=index):
                result = await self._calls.call(job, index, stage, args, on_message)
            return result.data, result.seconds

    async def _known(self, stage: str, key: str, what: str) -> bytes:
        with self._handoff(stage, "fetch", key), span(f"fetch from stage {stage}"):
            return await until_ready(partial(self._blobs.get_known, key, what))

    async def _keep(self, stage: str, key: str, data: bytes) -> None:
        self._metrics.handoff.size(stage, len(data))
        with self._handoff(stage, "store", key), span(f"store of stage {stage}"):
            await until_ready(partial(self._blobs.put, key, data))

    @contextmanager
    def _handoff(self, stage: str, part: HandoffPart, key: str) -> Iterator[None]:
        """Measure and log one way of what a stage made, to the store or from it."""
        began_s = time.monotonic()
        with self._metrics.handoff.timed(stage, part):
            yield
        logger.info("stage %s, %s: %.3f s to %s", stage, key, time.monotonic() - began_s, part)

    async def _sql(
        self,
        do: Callable[Arguments, ResultT],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> ResultT:
        """Do a transaction that the job cannot go on without."""
        return await until_ready(partial(asyncio.to_thread, do, *args, **kwargs))

    async def _progress(self, job_id: str, index: int, stage: str, message: Message) -> None:
        if message["type"] == "warning":
            await asyncio.to_thread(add_warnings, self._database, job_id, [message["text"]])
            return
        if message["type"] == "started":
            if job_id not in self._begun:
                await asyncio.to_thread(self._database.start_job, job_id)
                self._begun.add(job_id)
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
