"""Jobs run for real, on stages that answer from here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import numpy as np
from dbos import DBOS, SetWorkflowID
from dbos._dbos import _get_or_create_dbos_registry

from cascade_core.errors import CascadeError
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.geometry import Geometry
from cascade_core.handoff import ModelRef, StageBLatent, StageCLatent, Tensor
from cascade_core.request import GenerationRequest
from serve.autoscaling.demand import Demand
from serve.checker import Checker
from serve.jobs.dbos_runtime import launch_dbos
from serve.jobs.dispatch.dispatcher import Dispatcher
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageClient, StageResult
from serve.jobs.latent_reuse import LatentReuse
from serve.jobs.preview_check import PreviewCheck
from serve.jobs.progress.recorder import ProgressRecorder
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.jobs.workflow import JobWorkflow
from serve.moderation.moderator import Moderator
from serve.provenance.picture_signer import PictureSigner
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import Job, NewJob
from serve.storage.retry import RetryingBlobs, RetryingDatabase
from serve.telemetry.metrics import JobMetrics, QueueMetrics, RefusalMetrics
from tests.serve.fake_jobs_client import PREVIEW
from tests.serve.served import served


class Stage:
    """A stage that answers at once and counts its calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.warning = ""
        self.failure: CascadeError | None = None
        self.sources: list[bytes | None] = []

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.calls += 1
        self.sources.append(args[1])
        if self.failure is not None:
            raise self.failure
        if self.warning:
            on_message({"type": "warning", "text": self.warning})
        on_message({"type": "started"})
        return StageResult(stage_c_latent(args[0]) if self.name == "c" else b"bytes", 0.25)


def zeros(*shape: int) -> Tensor:
    return Tensor("float32", np.zeros(shape, np.float32))


def stage_c_latent(request: dict[str, Any]) -> bytes:
    geometry = Geometry()
    return StageCLatent(
        latents_chw=zeros(16, *geometry.stage_c_hw(request["height"], request["width"])),
        pooled=zeros(1, 32),
        negative_pooled=zeros(1, 32),
        geometry=geometry,
        model=ModelRef("demo", "r1", "f1"),
        request=GenerationRequest.from_dict(request),
    ).encode()


def stage_b_latent(request: dict[str, Any]) -> bytes:
    geometry = Geometry()
    stage_c_hw = geometry.stage_c_hw(request["height"], request["width"])
    return StageBLatent(
        latents_chw=zeros(4, *geometry.stage_b_hw(stage_c_hw)),
        geometry=geometry,
        model=ModelRef("demo", "r1", "f1"),
        request=GenerationRequest.from_dict(request),
    ).encode()


class Previewer:
    """Draws every latent alike."""

    def __init__(self) -> None:
        self.calls = 0

    async def call(self, latent: bytes, *, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.calls += 1
        StageCLatent.decode(latent)
        return StageResult(PREVIEW, 0.0)


def make_dispatcher(
    database: Database,
    stages: Mapping[str, Stage],
    queues: dict[str, FairQueue] | None = None,
    previewer: Previewer | None = None,
    watched_jobs: WatchedJobs | None = None,
) -> Dispatcher:
    """Return the way to stages, one image at a time; a test may exchange a stage later."""
    queues = queues or {name: FairQueue(1) for name in stages}
    clients = cast(dict[str, StageClient], stages)
    drawer = cast(StageClient, previewer or Previewer())
    previewers = dict.fromkeys(clients, drawer)
    watched_jobs = watched_jobs or WatchedJobs()
    return Dispatcher(
        RetryingDatabase(database), clients, previewers, queues, watched_jobs, QueueMetrics()
    )


@asynccontextmanager
async def launched(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: Mapping[str, Stage],
    checkers: Sequence[Checker] = (),
    demand: Demand | None = None,
    calls: Dispatcher | None = None,
    family: Family = STABLE_CASCADE,
    watched_jobs: WatchedJobs | None = None,
    may_wait: timedelta = timedelta(hours=24),
    redos: int = 2,
    signer: PictureSigner | None = None,
) -> AsyncIterator[JobWorkflow]:
    """Take jobs up, those first that were left unfinished before."""
    retrying_database, retrying_blobs = RetryingDatabase(database), RetryingBlobs(blobs)
    refusals = RefusalMetrics()
    moderator = Moderator(checkers, refusals.refused)
    watched_jobs = watched_jobs or WatchedJobs()
    models = served(family)
    workflow = JobWorkflow(
        models,
        retrying_database,
        retrying_blobs,
        calls or make_dispatcher(database, stages, watched_jobs=watched_jobs),
        demand or Demand(family.all_names),
        LatentReuse(models, database, blobs, is_on=True),
        PreviewCheck(moderator, True, redos, retrying_database, retrying_blobs, refusals),
        ProgressRecorder(retrying_database, retrying_blobs),
        watched_jobs,
        JobMetrics(),
        may_wait,
        signer,
    )
    # The workflow engine keeps its tables apart from ours, so both fit into one database.
    await asyncio.to_thread(launch_dbos, database_url, "jobs-0")
    try:
        yield workflow
    finally:
        await asyncio.to_thread(DBOS.destroy)
        # DBOS expects one such object for the life of a process.
        _get_or_create_dbos_registry().instance_info_map.clear()


async def run_to_end(workflow: JobWorkflow, database: Database, job: NewJob) -> Job:
    """Insert a job, bring it to its end and return it."""
    database.jobs.insert(job)
    return await bring_to_end(workflow, database, job.id)


async def bring_to_end(workflow: JobWorkflow, database: Database, job_id: str) -> Job:
    """Start the workflow of a recorded job and return the ended job."""
    with SetWorkflowID(job_id):
        handle = await DBOS.start_workflow_async(workflow.run, job_id)
    await handle.get_result()
    ended = database.jobs.get(job_id)
    assert ended is not None
    return ended
