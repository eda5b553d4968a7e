"""A job's durable life: one DBOS workflow, Stage C, then B, then A, each a recorded step.

A step that finished is never repeated: its result is in the blob store and its end in DBOS'
database, so a killed process resumes after the last finished step. Workflow rows hold ids and
seconds; latents and pixels live in the blob store. A step may still run twice when a process dies
between the two writes, so each first looks for what it would make.

DBOS finds workflows and finished steps by their recorded names. The names are therefore written out
here and never change; methods may.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID
from opentelemetry.trace import StatusCode

from cascade_core.errors import (
    Cancelled,
    CascadeError,
    ContentRefused,
    Gone,
    Internal,
    NotReady,
    WireError,
)
from cascade_core.families.spec import PREVIEW_WORK
from cascade_core.handoff import StageBLatent, StageCLatent
from cascade_core.job_states import JobState
from serve.autoscaling.demand import Demand
from serve.jobs.deadlines import in_time
from serve.jobs.dispatcher import StageCalls
from serve.jobs.preview_check import Gate
from serve.jobs.stored_latents import LatentReuse
from serve.jobs.workflow_serializer import ENGINE_ERRORS
from serve.messages import CallContext, StageMessage
from serve.storage.blobs import blob_keys
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.deadline_store import DeadlineStore
from serve.storage.image_store import ImageStore
from serve.storage.job_store import JobStore
from serve.storage.records import LatentRow, OpenJob, StageCUse, utc_now
from serve.storage.retry import RetryingBlobs, RetryingDatabase, WaitedTimes
from serve.telemetry.log import log_context
from serve.telemetry.metrics import HandoffPart, JobMetrics
from serve.telemetry.tracing import span, unpacked_context
from serve.workload import stage_work, stages_of

INSTANCE_NAME = "jobs"
"""DBOS records it with each workflow; it never changes."""

logger = logging.getLogger(__name__)


@DBOS.dbos_class("JobWorkflow")
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
    ) -> None:
        super().__init__(INSTANCE_NAME)
        self._database = RetryingDatabase(database)
        self._blobs = RetryingBlobs(blobs)
        self._latents = LatentReuse(database, blobs, reusable)
        self._calls = calls
        self._demand = demand
        self._gate = gate
        self._metrics = metrics
        self._open_jobs: dict[str, OpenJob] = {}
        self._begun: set[str] = set()
        self._waited = WaitedTimes()

    @DBOS.workflow(name="JobWorkflow.run")
    async def run(self, job_id: str) -> None:
        """Bring one job to exactly one end state.

        Raises:
            NotReady, DBOSException, DBAPIError: the workflow engine failed; the job is open and
                :func:`serve.jobs.recovery.start_stranded` starts it anew.
        """
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
            except (NotReady, *ENGINE_ERRORS):
                logger.exception("the workflow engine failed; the job starts anew")
                self._forget(job_id)
                raise
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
            opened.set_attribute("cascade.state", state)
            if error is not None:
                opened.set_status(StatusCode.ERROR, error["code"])
            await self._end(job_id, state, error)

    @DBOS.workflow(name="JobWorkflow.run_image")
    async def run_image(self, job_id: str, index: int) -> None:
        """Make one of several images; a child workflow, so that images overtake each other."""
        with log_context(job_id=job_id), unpacked_context(await self._context(job_id)):
            await self._run_image(job_id, index)

    @DBOS.step(name="JobWorkflow.stage_c")
    async def stage_c(self, job_id: str, index: int) -> float:
        """Make and store the Stage C latent; returns the model's seconds."""
        job = await self._open(job_id)
        latent_id = job.images[index].latent_id
        if await self._database.images.do(ImageStore.latent, latent_id) is not None:
            return 0.0
        request, seconds = job.request.for_image(index), 0.0
        use: StageCUse = "reused"
        data = await self._latents.find(request, job)
        if data is None:
            data, seconds = await self._call(job_id, index, "c", request.to_dict())
            use = "ran"
        latent = StageCLatent.decode(data)
        await self._keep(job_id, "c", blob_keys.latent_key(latent_id), data)
        row = LatentRow(
            id=latent_id, job_id=job_id, index=index, model=latent.model, request=latent.request
        )
        await self._database.images.do(ImageStore.save_latent, row, seconds, use)
        return seconds

    @DBOS.step(name="JobWorkflow.stage_b")
    async def stage_b(self, job_id: str, index: int) -> float:
        """Expand the stored latent; returns the model's seconds.

        Raises:
            Gone: the stored latent is lost or damaged.
        """
        job = await self._open(job_id)
        latent_key = blob_keys.latent_key(job.images[index].latent_id)
        latent = await self._known(job_id, "c", latent_key, "this latent")
        request = job.request.for_image(index).to_dict()
        with _checked(StageCLatent.decode, latent, "this latent"):
            await self._pass_gate(job, index, latent)
            data, seconds = await self._call(job_id, index, "b", latent, request)
        await self._keep(job_id, "b", blob_keys.handoff_key(job_id, index), data)
        await self._database.jobs.do(JobStore.add_cost, job_id, "b", seconds)
        return seconds

    @DBOS.step(name="JobWorkflow.stage_a")
    async def stage_a(self, job_id: str, index: int) -> float:
        """Decode to the picture and store it; returns the model's seconds.

        Raises:
            Gone: the stored Stage B latent is lost or damaged.
        """
        job = await self._open(job_id)
        image = job.images[index]
        if image.ready_at is not None:
            return 0.0
        handoff_key = blob_keys.handoff_key(job_id, index)
        what = "the Stage B latent of this job"
        latent = await self._known(job_id, "b", handoff_key, what)
        with _checked(StageBLatent.decode, latent, what):
            data, seconds = await self._call(job_id, index, "a", latent, image.id, image.latent_id)
        await self._keep(job_id, "a", blob_keys.image_key(image.id, job.request.format), data)
        await self._database.images.do(ImageStore.save, image.id, len(data), seconds)
        await self._blobs.try_delete(handoff_key)
        return seconds

    @DBOS.step(name="JobWorkflow.drop_latent")
    async def drop_latent(self, job_id: str, index: int) -> None:
        """Forget an image's Stage C latent, so that Stage C makes it anew."""
        job = await self._open(job_id)
        await self._database.images.do(ImageStore.forget_latent, job.images[index].latent_id)

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
            await self._expand(job, index)
            done("b")
            try:
                await self.stage_a(job_id, index)
            except Gone as error:
                logger.warning("stage B runs once more: %s", error)
                await self._expand(job, index)
                await self.stage_a(job_id, index)

    async def _expand(self, job: OpenJob, index: int) -> None:
        """Run Stage B; where its latent is lost or damaged and the job's own, Stage C before."""
        try:
            await self.stage_b(job.id, index)
        except Gone as error:
            if job.request.kind != "generate":
                raise
            logger.warning("stage C runs once more: %s", error)
            await self.drop_latent(job.id, index)
            await self.stage_c(job.id, index)
            await self.stage_b(job.id, index)

    async def _pass_gate(self, job: OpenJob, index: int, latent: bytes) -> None:
        """Have a composition checked; one that is refused stops the job's other images, too."""
        if not self._gate.is_watched:
            return
        try:
            async with in_time(self._database, job.id):
                preview = await self._calls.preview(self._still_open(job.id), index, latent)
                await self._gate.check(job, index, preview)
        except ContentRefused:
            self._calls.give_up(job.id)
            raise
        if self._gate.shows_previews and job.request.kind == "generate":
            steps = job.request.steps
            await self._show(job.id, index, "c", steps, steps, preview)

    async def _end(self, job_id: str, state: JobState, error: dict[str, str] | None) -> None:
        await self._database.jobs.do(JobStore.finish, job_id, state, error)
        job, code = self._forget(job_id), (error or {}).get("code", "")
        outcome = f"{state} ({code})" if code else state
        if job is None:
            logger.info("job %s", outcome)
        else:
            latency_s = (utc_now() - job.created_at).total_seconds()
            logger.info("job %s after %.2f s", outcome, latency_s)
            self._metrics.ended(job.request.kind, state, code, latency_s)

    def _forget(self, job_id: str) -> OpenJob | None:
        """Drop what this process knows of a job that it no longer runs; returns the job."""
        self._calls.forget(job_id)
        self._begun.discard(job_id)
        self._waited.forget(job_id)
        return self._open_jobs.pop(job_id, None)

    async def _context(self, job_id: str) -> CallContext:
        """Return the ids and the trace of the request that made the job, if it can go on."""
        with suppress(CascadeError):  # running it fails likewise, and tells
            return (await self._open(job_id)).context
        return {}

    async def _open(self, job_id: str) -> OpenJob:
        """Return the job as it was when this process took it up; Cancelled if it has ended."""
        job = self._open_jobs.get(job_id)
        if job is None:
            job = await self._database.jobs.do(JobStore.open_job, job_id)
        if job is None or self._calls.is_given_up(job_id):
            raise Cancelled("the job was cancelled")
        self._open_jobs[job_id] = job
        return job

    def _still_open(self, job_id: str) -> OpenJob:
        """Return a job whose step has begun; Cancelled if the job has ended since."""
        job = self._open_jobs.get(job_id)
        if job is None or self._calls.is_given_up(job_id):
            raise Cancelled("the job was cancelled")
        return job

    async def _call(self, job_id: str, index: int, stage: str, *args: Any) -> tuple[bytes, float]:
        """Call a stage until the job's deadline; returns its result and the model's seconds.

        Raises:
            Cancelled: the job was cancelled.
            DeadlineExceeded: it was not done in time.
            CannotBeServed: no replica can run it.
            CascadeError: the stage failed.
        """

        async def on_message(message: StageMessage) -> None:
            await self._progress(job_id, index, stage, message)

        async with in_time(self._database, job_id):
            job = self._still_open(job_id)
            with span(f"stage {stage}", image=index):
                result = await self._calls.call(job, index, stage, args, on_message)
            return result.data, result.seconds

    async def _known(self, job_id: str, stage: str, key: str, what: str) -> bytes:
        with self._handoff(stage, "fetch", key), span(f"fetch from stage {stage}"):
            return await self._blobs.get_known(key, what, partial(self._extend, job_id))

    async def _keep(self, job_id: str, stage: str, key: str, data: bytes) -> None:
        self._metrics.handoff.size(stage, len(data))
        with self._handoff(stage, "store", key), span(f"store of stage {stage}"):
            await self._blobs.put(key, data, partial(self._extend, job_id))

    async def _extend(self, job_id: str, since_s: float, until_s: float) -> None:
        """Move the job's deadline on, as the blob store did not answer for that time.

        Images of one job that wait at the same time move it on once.
        """
        waited_s = self._waited.add(job_id, since_s, until_s)
        await self._database.deadlines.try_once(
            DeadlineStore.extend, job_id, timedelta(seconds=waited_s)
        )

    @contextmanager
    def _handoff(self, stage: str, part: HandoffPart, key: str) -> Iterator[None]:
        """Measure and log one way of what a stage made, to the store or from it."""
        began_s = time.monotonic()
        with self._metrics.handoff.timed(stage, part):
            yield
        logger.info("stage %s, %s: %.3f s to %s", stage, key, time.monotonic() - began_s, part)

    async def _progress(self, job_id: str, index: int, stage: str, message: StageMessage) -> None:
        """Note what a stage tells; a store that does not answer is no reason to do work again."""
        if message["type"] == "warning":
            await self._database.jobs.try_once(JobStore.add_warnings, job_id, [message["text"]])
            return
        if message["type"] == "started":
            if job_id not in self._begun:
                is_noted = await self._database.jobs.try_once(JobStore.start, job_id)
                if is_noted is not None:
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
            key = blob_keys.preview_key(job_id, index, stage, step)
            if not await self._blobs.try_put(key, preview):
                key = None
        record = JobStore.record_progress
        await self._database.jobs.try_once(record, job_id, stage, step, steps, index, key)


@contextmanager
def _checked(decode: Callable[[bytes], object], data: bytes, what: str) -> Iterator[None]:
    """Tell a damaged input of a stage from a fault of the stage itself.

    Raises:
        Gone: the stage refused ``data``, and :mod:`cascade_core.handoff` refuses it, too.
    """
    try:
        yield
    except WireError:
        try:
            decode(data)
        except WireError as error:
            raise Gone(f"{what} is recorded, but its file in the store is damaged") from error
        raise
