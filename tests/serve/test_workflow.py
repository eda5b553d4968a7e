"""The durable workflow, on both databases that can keep it, with stages that answer from here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, cast

import numpy as np
import pytest
import pytest_asyncio
from dbos import DBOS, SetWorkflowID
from dbos._dbos import _get_or_create_dbos_registry

from cascade_core.geometry import Geometry
from cascade_core.handoff import ModelRef, StageCLatent, Tensor
from cascade_core.request import GenerationRequest
from serve.db import Database
from serve.jobs import launch_dbos
from serve.metrics import JobMetrics
from serve.records import Job, NewJob, utc_now
from serve.stage_client import OnMessage, StageClient, StageResult
from serve.store import BlobStore, image_key, latent_key
from serve.workflow import JobWorkflow
from serve.workflow_history import delete_workflows

JobMaker = Callable[..., NewJob]
Run = Callable[[NewJob], Any]


class Stage:
    """A stage that answers at once and counts its calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0

    async def call(self, *args: Any, on_message: OnMessage) -> StageResult:
        self.calls += 1
        await on_message({"type": "started"})
        return StageResult(stage_c_latent(args[0]) if self.name == "c" else b"bytes", 0.25)


def stage_c_latent(request: dict[str, Any]) -> bytes:
    def zeros(*shape: int) -> Tensor:
        return Tensor("float32", np.zeros(shape, np.float32))

    geometry = Geometry()
    return StageCLatent(
        latents_chw=zeros(16, *geometry.stage_c_hw(request["height"], request["width"])),
        pooled=zeros(1, 32),
        negative_pooled=zeros(1, 32),
        geometry=geometry,
        model=ModelRef("demo", "r1", "f1"),
        request=GenerationRequest.from_dict(request),
    ).encode()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def stages() -> dict[str, Stage]:
    return {name: Stage(name) for name in ("c", "b", "a")}


@pytest_asyncio.fixture
async def run(
    database: Database, database_url: str, blobs: BlobStore, stages: dict[str, Stage]
) -> AsyncIterator[Run]:
    """Inserts a job, brings it to its end and returns it."""
    clients = cast(dict[str, StageClient], stages)
    workflow = JobWorkflow(database, blobs, clients, JobMetrics(), lambda _: None)
    # The workflow engine keeps its tables apart from ours, so both fit into one database.
    await asyncio.to_thread(launch_dbos, database_url, "jobs-0")

    async def run(job: NewJob) -> Job:
        database.insert_job(job)
        with SetWorkflowID(job.id):
            handle = await DBOS.start_workflow_async(workflow.run, job.id)
        await handle.get_result()
        ended = database.job(job.id)
        assert ended is not None
        return ended

    yield run
    await asyncio.to_thread(DBOS.destroy)
    # DBOS expects one such object for the life of a process.
    _get_or_create_dbos_registry().instance_info_map.clear()


async def test_a_job_runs_each_stage_once_to_its_good_end(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore
) -> None:
    job = make_job(n=2)
    ended = await run(job)
    assert (ended.state, ended.error) == ("succeeded", None)
    assert [stage.calls for stage in stages.values()] == [2, 2, 2]
    assert ended.cost_s == {"c": 0.5, "b": 0.5, "a": 0.5}
    for image in job.images:
        assert await blobs.get(image_key(image.id, "png")) == b"bytes"


async def test_records_of_workflows_that_ended_are_deleted(run: Run, make_job: JobMaker) -> None:
    before = utc_now()
    job = make_job(n=2)
    await run(job)
    assert await delete_workflows(before) == 0
    assert await delete_workflows(utc_now() + timedelta(days=1)) == 3
    assert await DBOS.list_workflows_async() == []
    assert (await run(make_job())).state == "succeeded"


async def test_a_latent_whose_bytes_were_lost_fails_its_variation_as_gone(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore
) -> None:
    original = make_job()
    await run(original)
    latent_id = original.images[0].latent_id
    await blobs.delete(latent_key(latent_id))
    ended = await run(make_job(kind="vary_details", latent_id=latent_id))
    assert ended.state == "failed"
    assert ended.error is not None
    assert ended.error["code"] == "gone"
    assert "missing" in ended.error["message"]
    assert stages["b"].calls == 1
