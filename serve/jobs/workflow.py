"""A job's durable life: one DBOS workflow per job, and one per image of a job of several.

A job that stops after a stage waits for its client then. Further workflows compose images anew and
finish those that the client chooses, see :mod:`serve.storage.job_parts.parts`.

DBOS starts the workflows of a killed process again. What a workflow has done is told by our own
rows and files alone: the latent that the family keeps, and the picture. Their stages are never
repeated; an output between them goes on in memory, and its stage runs again after a crash.

DBOS finds workflows by their recorded names. The names are therefore written out here and never
change; methods may.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID
from opentelemetry.trace import StatusCode

from cascade_core.errors import (
    Cancelled,
    CascadeError,
    ContentRefused,
    Gone,
    Internal,
    NotReady,
    RecordNewer,
)
from cascade_core.families.spec import PREVIEW_WORK, Family, StageSpec
from cascade_core.job_states import JobState
from serve.autoscaling.demand import Demand
from serve.jobs.compositions import Compositions
from serve.jobs.dispatch.dispatcher import Dispatcher
from serve.jobs.dispatch.stage_client import StageResult
from serve.jobs.latent_reuse import LatentReuse
from serve.jobs.preview_check import CompositionRejected, PreviewCheck
from serve.jobs.progress.recorder import ProgressRecorder
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.jobs.stage_calls import StageCalls
from serve.jobs.stage_outputs import StageOutputs, awaited, checked_input
from serve.jobs.workflow_serializer import ENGINE_ERRORS
from serve.messages import CallContext
from serve.provenance.picture_signer import PictureSigner
from serve.served_models import Models
from serve.storage.job_parts.parts import CONTINUED, FIRST, is_redo, run_id
from serve.storage.job_store import JobStore
from serve.storage.records import LatentUse, OpenJob, utc_now
from serve.storage.retry import RetryingBlobs, RetryingDatabase
from serve.storage.waiting_store import WaitingStore
from serve.telemetry.log import log_context
from serve.telemetry.metrics import JobMetrics
from serve.telemetry.tracing import span, unpacked_context

INSTANCE_NAME = "jobs"
"""DBOS records it with each workflow; it never changes."""

logger = logging.getLogger(__name__)


@DBOS.dbos_class("JobWorkflow")
class JobWorkflow(DBOSConfiguredInstance):
    """Runs jobs through the stages of their models.

    Args:
        models: that make the images.
        database: where jobs, images and latents are recorded.
        blobs: where their bytes are.
        dispatcher: calls the stages.
        demand: counts the work that is on its way to each stage.
        latent_reuse: finds latents that equal the ones a stage would compute.
        preview_check: checks an output that is kept before the next stage runs.
        progress: records what the stages report.
        watched_jobs: the jobs whose previews a client can see.
        metrics: counts ended jobs and measures hand-offs.
        may_wait: how long a job waits to be continued.
        signer: signs pictures; None: nothing does.
    """

    def __init__(
        self,
        models: Models,
        database: RetryingDatabase,
        blobs: RetryingBlobs,
        dispatcher: Dispatcher,
        demand: Demand,
        latent_reuse: LatentReuse,
        preview_check: PreviewCheck,
        progress: ProgressRecorder,
        watched_jobs: WatchedJobs,
        metrics: JobMetrics,
        may_wait: timedelta,
        signer: PictureSigner | None = None,
    ) -> None:
        super().__init__(INSTANCE_NAME)
        self._models = models
        self._database = database
        self._outputs = StageOutputs(database, blobs, metrics.handoff, models, signer)
        self._latent_reuse = latent_reuse
        self._dispatcher = dispatcher
        self._demand = demand
        self._preview_check = preview_check
        self._progress = progress
        self._watched_jobs = watched_jobs
        self._metrics = metrics
        self._may_wait = may_wait
        self._compositions = Compositions(
            models=models,
            database=database,
            dispatcher=dispatcher,
            preview_check=preview_check,
            progress=progress,
            watched_jobs=watched_jobs,
            outputs=self._outputs,
            still_open=self._still_open,
        )
        self._stage_calls = StageCalls(
            models=models,
            database=database,
            dispatcher=dispatcher,
            preview_check=preview_check,
            progress=progress,
            outputs=self._outputs,
            still_open=self._still_open,
        )
        self._open_jobs: dict[str, OpenJob] = {}

    @DBOS.workflow(name="JobWorkflow.run")
    async def run(self, job_id: str, part: str | bool = FIRST) -> None:
        """Bring one job to exactly one end state, or to its stop; then ``waiting`` is its state.

        Args:
            job_id: of the job.
            part: to run; True in records of an earlier release, which means the last one.

        Raises:
            NotReady, DBOSException, DBAPIError: the workflow engine failed; the job is open and
                :func:`serve.jobs.recovery.start_orphaned` starts it again.
            RecordNewer: a later release has accepted the job; its recovery starts it again.
        """
        part = CONTINUED if part is True else part or FIRST
        if await self._is_over(job_id, part):
            return
        context = await self._context(job_id)
        with (
            log_context(job_id=job_id),
            unpacked_context(context),
            span("job", job_id=job_id) as opened,
        ):
            error = None
            # A job whose redo fails has its earlier compositions.
            failed: JobState = "waiting" if is_redo(part) else "failed"
            try:
                state = await self._run_images(job_id)
            except (NotReady, *ENGINE_ERRORS):
                logger.exception("the workflow engine failed; the job starts again")
                self._forget(job_id)
                raise
            except Cancelled:
                state = "cancelled"
            except ContentRefused as refusal:
                await self._preview_check.discard(job_id, part)
                state, error = failed, refusal.to_dict()
            except CascadeError as failure:
                state, error = failed, failure.to_dict()
            except Exception:
                logger.exception("job failed unexpectedly")
                state, error = failed, Internal("the job failed unexpectedly").to_dict()
            opened.set_attribute("cascade.state", state)
            if error is not None:
                opened.set_status(StatusCode.ERROR, error["code"])
            await self._end(job_id, state, error, part)

    @DBOS.workflow(name="JobWorkflow.run_image")
    async def run_image(self, job_id: str, index: int) -> None:
        """Make one of several images; a child workflow, so that images overtake each other."""
        with log_context(job_id=job_id), unpacked_context(await self._context(job_id)):
            await self._run_image(job_id, index)

    def cancel(self, job_id: str) -> None:
        """Stop the job's calls in this process; the replicas free their rows within two steps."""
        self._open_jobs.pop(job_id, None)
        self._dispatcher.stop(job_id)

    async def _is_over(self, job_id: str, part: str) -> bool:
        """Return True if the job is not open, or went on after this part of it."""
        try:
            job = await self._database.jobs.do(JobStore.open_job, job_id)
        except RecordNewer:
            raise
        except CascadeError:  # the run fails with the same error and reports it
            return False
        if job is None:
            self._forget(job_id)
            return True
        if job.part != part:
            return True
        self._open_jobs[job_id] = job
        return False

    async def _run_images(self, job_id: str) -> JobState:
        """Make the images that are to be made now; returns the state of the job after it."""
        job = await self._open(job_id)
        if len(job.indices) == 1:
            await self._run_image(job_id, job.indices[0])
        else:
            if job.request.hero_id is not None:
                await self._make_hero(job)
            await self._run_children(job)
        return "succeeded" if job.request.stop_after is None else "waiting"

    async def _make_hero(self, job: OpenJob) -> None:
        """Make the latent of image 0 before the other images start from it."""
        route = self._models.route(job.request)
        if not await self._outputs.count_made(job, 0, route):
            stages = route[: [stage.keeps_output for stage in route].index(True) + 1]
            with self._demand.image(self._work(job, 0, stages)) as done:
                await self._run_stages(job, 0, stages, done)

    async def _run_children(self, job: OpenJob) -> None:
        children, run = [], run_id(job.id, job.part)
        for index in job.indices:
            with SetWorkflowID(f"{run}-{index}"):
                children.append(await DBOS.start_workflow_async(self.run_image, job.id, index))
        ended = [child.get_result() for child in children]
        results = await asyncio.gather(*ended, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:  # one that was refused has cancelled the others
            raise min(failures, key=lambda failure: isinstance(failure, Cancelled))

    async def _run_image(self, job_id: str, index: int) -> None:
        """Make an image, anew with other seeds as often as a checker rejects its composition."""
        while True:
            job = await self._open(job_id)
            try:
                return await self._make_image(job, index)
            except CompositionRejected as rejected:
                logger.info("image %d is composed anew: %s", index, rejected)
                anew = await self._compositions.reject(job, index, rejected.rule)
            # Another image of the job may have been composed anew meanwhile.
            known = self._still_open(job_id)
            self._open_jobs[job_id] = known.with_redone(anew.images[index], anew.rejections[-1])

    async def _make_image(self, job: OpenJob, index: int) -> None:
        """Run the stages of an image whose output is not stored yet."""
        route = self._models.route(job.request)
        if self._outputs.is_finished(job, index):
            return
        made = await self._outputs.count_made(job, index, route)
        try:
            await self._finish_image(job, index, route, made)
        except Gone as error:
            # Another job made it, or it would be composed at the size of the picture.
            if not made or (job.choice is not None and job.choice.size):
                raise
            logger.warning("stage %s runs once more: %s", route[made - 1].name, error)
            await self._outputs.drop_latent(job, index)
            await self._finish_image(job, index, route, 0)

    async def _finish_image(
        self, job: OpenJob, index: int, route: Sequence[StageSpec], made: int
    ) -> None:
        """Run the stages after the first ``made``; where the job stops, draw what it stops with."""
        if stages := route[made:]:
            with self._demand.image(self._work(job, index, stages)) as done:
                await self._run_stages(job, index, stages, done)
        if (last := route[-1]).output:
            with self._demand.image({last.key: PREVIEW_WORK}):
                await self._compositions.keep(job, index, last)

    def _family(self, job: OpenJob) -> Family:
        return self._models.of(job.request).family

    def _work(self, job: OpenJob, index: int, stages: Sequence[StageSpec]) -> dict[str, float]:
        work = {stage.key: stage.work(job.request_of(index)) for stage in stages}
        kept = self._family(job).kept
        if kept is not None and self._preview_check.is_required:
            work.setdefault(kept.key, PREVIEW_WORK)
        return work

    async def _run_stages(
        self,
        job: OpenJob,
        index: int,
        stages: Sequence[StageSpec],
        done: Callable[[str], None],
    ) -> None:
        """Run stages one after the other; each output is stored while the next stage runs.

        Raises:
            Gone: the stored latent that the first of them takes is lost or damaged.
        """
        output = stored = await self._read_source(job, index, stages[0])
        source_class = self._family(job).source_class(stages[0], job.request_of(index))
        writes: list[asyncio.Task[None]] = []
        async with awaited(writes):
            for stage in stages:
                await self._open(job.id)
                with checked_input(source_class, stored):
                    result, use = await self._make(job, index, stage, output, writes)
                output, stored = result.data, None
                if not stage.output:  # the picture is reported after its steps, with its latent
                    await asyncio.gather(*writes, self._progress.settle(job.id, index))
                write = self._outputs.write(job, index, stage, result, use)
                writes.append(asyncio.create_task(write))
                done(stage.key)
            await writes[-1]

    async def _read_source(self, job: OpenJob, index: int, stage: StageSpec) -> bytes | None:
        """Return what the first stage that runs for an image takes from the store, if anything.

        Raises:
            Gone: it is lost or was deleted.
        """
        source = self._family(job).source_of(stage, job.request_of(index))
        is_start = stage == self._models.route(job.request)[0]
        if source is not None:
            return await self._outputs.read(job, index, source, is_start=is_start)
        return None  # the encoder's upload is read when the encoder has a slot

    async def _make(
        self,
        job: OpenJob,
        index: int,
        stage: StageSpec,
        source: bytes | None,
        writes: Sequence[asyncio.Task[None]],
    ) -> tuple[StageResult, LatentUse]:
        """Return a stage's output for an image and how it came about.

        Its progress is told once the ``writes`` of the outputs before have ended, so that no stage
        is seen to begin again after a later one was seen.
        """
        before = self._family(job).before(stage)
        if before is not None and before.keeps_output:
            await self._compositions.check(job, index, before, source or b"")
        if stage.keeps_output:
            data = await self._latent_reuse.find(job.request_of(index), job)
            if data is not None:
                return StageResult(data, 0.0), "reused"
        call = partial(self._stage_calls.call, job.id, index, stage, source, writes)
        is_encoder = stage == self._family(job).encoder
        return await (self._outputs.encoded(job.id, call) if is_encoder else call()), "ran"

    async def _end(
        self, job_id: str, state: JobState, error: dict[str, str] | None, part: str
    ) -> None:
        await self._progress.end(job_id)
        await self._outputs.record_handoffs(job_id)
        if state == "waiting":
            # Its client may continue it at once: what is known of the job then belongs to that run.
            self._forget(job_id)
            await self._database.waiting.do(WaitingStore.begin, job_id, self._may_wait, part, error)
            logger.info("job %s waits for its client", job_id)
            return
        is_first = await self._database.jobs.do(JobStore.finish, job_id, state, error, part=part)
        job, code = self._forget(job_id), (error or {}).get("code", "")
        outcome = f"{state} ({code})" if code else state
        if job is None or not is_first:  # it was ended, and counted, elsewhere
            logger.info("job %s", outcome)
        else:
            latency_s = (utc_now() - job.created_at).total_seconds()
            logger.info("job %s after %.2f s", outcome, latency_s)
            self._metrics.ended(job.request.kind, state, code, latency_s)

    def _forget(self, job_id: str) -> OpenJob | None:
        """Drop what this process knows of a job that it no longer runs; returns the job."""
        self._dispatcher.forget(job_id)
        self._progress.forget(job_id)
        self._watched_jobs.forget(job_id)
        self._outputs.forget(job_id)
        return self._open_jobs.pop(job_id, None)

    async def _context(self, job_id: str) -> CallContext:
        """Return the ids and the trace of the request that made the job, if it can go on."""
        with suppress(CascadeError):  # the run fails with the same error and reports it
            return (await self._open(job_id)).context
        return {}

    async def _open(self, job_id: str) -> OpenJob:
        """Return the job as it was when this process took it up; Cancelled if it has ended."""
        job = self._open_jobs.get(job_id)
        if job is None:
            job = await self._database.jobs.do(JobStore.open_job, job_id)
        if job is None or self._dispatcher.is_given_up(job_id):
            raise Cancelled("the job was cancelled")
        self._open_jobs[job_id] = job
        return job

    def _still_open(self, job_id: str) -> OpenJob:
        """Return a job whose step has begun; Cancelled if the job has ended since."""
        job = self._open_jobs.get(job_id)
        if job is None or self._dispatcher.is_given_up(job_id):
            raise Cancelled("the job was cancelled")
        return job
