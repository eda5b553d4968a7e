"""The real service without Ray: gateway, durable workflow and the three stages in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from dbos import DBOS, SetWorkflowID
from ulid import ULID

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from cascade_core.stages import stage_b, stage_c
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.jobs.workflow import JobWorkflow
from serve.messages import StageMessage
from serve.settings import Settings
from serve.stages.deployments import StageDeployment
from serve.storage.records import JobIdentity, JobOwner
from tests.bot.gateway import Service, running_service
from tests.serve.fake_jobs_client import FakeJobsClient, plan
from tests.serve.null_stages import Previewer, Stage, launched, make_dispatcher

PUBLIC_URL = "https://pictures.example.org"


@dataclass
class Pace:
    """How long each step of Stages C and B is held, so that people can follow a small model."""

    hold_s: float = 0.0


@contextmanager
def _held(kind: type[Any], pace: Pace) -> Iterator[None]:
    advance = kind.advance

    def held(stage: Any, rows: Sequence[Any]) -> None:
        time.sleep(pace.hold_s)
        advance(stage, rows)

    with patch.object(kind, "advance", held):
        yield


class StudioJobsClient(FakeJobsClient):
    """Runs jobs as the Jobs deployment does."""

    workflow: JobWorkflow

    async def submit(
        self,
        request: GenerationRequest,
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        identity: JobIdentity,
        *,
        is_watched: bool = True,
    ) -> str:
        job = plan(identity, request, client_state, owner)
        planned = STABLE_CASCADE.planned_latent_id
        images = (
            replace(image, id=str(ULID()), latent_id=planned(request, image.index) or str(ULID()))
            for image in job.images
        )
        job = replace(job, images=tuple(images))
        earlier_id = await asyncio.to_thread(self.database.jobs.insert, job)
        if earlier_id is None:
            with SetWorkflowID(job.id):
                await DBOS.start_workflow_async(self.workflow.run, job.id)
        return earlier_id or job.id

    async def cancel(self, job_id: str) -> bool:
        is_first = await asyncio.to_thread(self.database.jobs.finish, job_id, "cancelled")
        self.workflow.cancel(job_id)
        return is_first


class _Handle:
    """A method of a stage's replica, called as over a deployment's handle."""

    def __init__(self, method: Callable[..., AsyncIterator[StageMessage]]) -> None:
        self._method = method

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        async for message in self._method(*args):
            if message["type"] == "done":
                return StageResult(message["result"], message["seconds"])
            on_message(message)
        raise AssertionError("the stage ended without a result")


@asynccontextmanager
async def running_studio(folder: Path, pace: Pace) -> AsyncIterator[Service]:
    """Run the service with the demo model until the block is left."""
    settings = Settings(data_dir=folder, public_url=PUBLIC_URL, device="cpu")
    replicas = {
        name: StageDeployment(STABLE_CASCADE, name, settings) for name in STABLE_CASCADE.names
    }
    stages = {name: cast(Stage, _Handle(replica.run)) for name, replica in replicas.items()}
    previewer = cast(Previewer, _Handle(replicas["c"].preview))
    checkpoint = open_checkpoint(settings.model_source(), components=())
    more: dict[str, Any] = {
        "checkpoint": checkpoint,
        "fake_jobs": StudioJobsClient,
        "public_url": PUBLIC_URL,
    }
    async with running_service(folder, **more) as service:
        fake_jobs = cast(StudioJobsClient, service.fake_jobs)
        fake_jobs.states = dict.fromkeys(("Gateway", "Jobs", "StageC", "StageB", "StageA"), "ready")
        dbos_url = f"sqlite:///{folder / 'workflows.db'}"
        watched = WatchedJobs()
        calls = make_dispatcher(service.database, stages, previewer=previewer, watched_jobs=watched)
        async with launched(
            service.database, dbos_url, fake_jobs.blobs, stages, calls=calls, watched_jobs=watched
        ) as fake_jobs.workflow:
            with _held(stage_c.StageC, pace), _held(stage_b.StageB, pace):
                yield service
