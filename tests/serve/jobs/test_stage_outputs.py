"""Where the outputs of a family's stages go; with four stages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from cascade_core.errors import Internal, NotReady
from cascade_core.images.fingerprint import fingerprint_of
from cascade_core.images.image_files import encode_thumbnails
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.storage.blobs.blob_keys import COPY_MARK, thumbnail_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.image_store import ImageStore
from serve.storage.job_store import JobStore
from serve.storage.lineage import Viewpoint
from serve.storage.records import Job, NewJob
from tests.ray.families.four_stages import FOUR_STAGES
from tests.serve.null_stages import Stage, launched, run_to_end, stage_b_latent

SMALL = encode_thumbnails(np.zeros((512, 512, 3), np.uint8), (256, 512))
JobMaker = Callable[..., NewJob]
Run = Callable[[NewJob], Any]


class HandingOn(Stage):
    """Stages B and the one after it: both make what Stage A takes."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        result = await super().call(*args, on_message=on_message, on_crash=on_crash)
        return replace(result, data=stage_b_latent(args[0]))


class WithThumbnails(Stage):
    """Stage A, whose replica makes thumbnails, too."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        result = await super().call(*args, on_message=on_message, on_crash=on_crash)
        return replace(result, thumbnails=SMALL)


class Failing(Stage):
    """Stage A, which fails."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.called = asyncio.Event()

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.called.set()
        raise Internal("it failed")


@pytest.fixture
def stages() -> dict[str, Stage]:
    middle = {name: HandingOn(name) for name in ("b", "touch")}
    return {"c": Stage("c"), **middle, "a": Stage("a")}


@pytest_asyncio.fixture
async def run(
    database: Database, database_url: str, blobs: BlobStore, stages: dict[str, Stage]
) -> AsyncIterator[Run]:
    launch = launched(database, database_url, blobs, stages, family=FOUR_STAGES)
    async with launch as workflow:
        yield partial(run_to_end, workflow, database)


def calls(stages: dict[str, Stage]) -> list[int]:
    return [stage.calls for stage in stages.values()]


async def test_every_stage_runs_once_and_no_hand_off_is_stored(
    run: Run,
    make_job: JobMaker,
    stages: dict[str, Stage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put, stored = BlobStore.put, []

    async def put_and_note(self: BlobStore, key: str, data: bytes) -> None:
        stored.append(key.partition("/")[0])
        await put(self, key, data)

    monkeypatch.setattr(BlobStore, "put", put_and_note)
    ended: Job = await run(replace(make_job(), family=FOUR_STAGES))
    assert (ended.state, ended.error) == ("succeeded", None)
    assert calls(stages) == [1, 1, 1, 1]
    assert ended.cost_s == {"c": 0.25, "b": 0.25, "touch": 0.25, "a": 0.25}
    assert sorted(stored) == ["images", "latents"]


async def test_the_costs_of_a_job_that_is_cancelled_before_its_picture_is_recorded_are_kept(
    run: Run, make_job: JobMaker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, save = replace(make_job(), family=FOUR_STAGES), ImageStore.save

    def save_too_late(*args: Any) -> bool:
        database.jobs.finish(job.id, "cancelled")
        return save(*args)

    monkeypatch.setattr(ImageStore, "save", wraps(save)(save_too_late))
    ended: Job = await run(job)
    assert ended.state == "cancelled"
    assert ended.cost_s == {"c": 0.25, "b": 0.25, "touch": 0.25, "a": 0.25}


async def test_the_costs_of_hand_offs_are_not_those_of_a_latent_that_is_recorded_late(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If that latent is known already, they would be lost with it."""
    put, add_costs, added = BlobStore.put, JobStore.add_costs, []
    stages["a"] = last_stage = Failing("a")

    async def put_late(self: BlobStore, key: str, data: bytes) -> None:
        await last_stage.called.wait()
        await put(self, key, data)

    def add_and_note(store: JobStore, job_id: str, costs_s: dict[str, float]) -> None:
        added.append(costs_s)
        add_costs(store, job_id, costs_s)

    monkeypatch.setattr(BlobStore, "put", put_late)
    monkeypatch.setattr(JobStore, "add_costs", wraps(add_costs)(add_and_note))
    ended: Job = await run(replace(make_job(), family=FOUR_STAGES))
    assert added == [{"b": 0.25, "touch": 0.25}]
    assert ended.cost_s == {"c": 0.25, "b": 0.25, "touch": 0.25, "a": 0}


async def test_new_details_begin_after_the_kept_output(
    run: Run, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    first: Job = await run(replace(make_job(), family=FOUR_STAGES))
    vary = make_job(kind="vary_details", latent_id=first.images[0].latent_id)
    ended: Job = await run(replace(vary, family=FOUR_STAGES))
    assert ended.state == "succeeded"
    assert calls(stages) == [1, 2, 2, 2]
    assert ended.cost_s["c"] == 0


async def test_a_picture_is_stored_with_its_thumbnails(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], database: Database, blobs: BlobStore
) -> None:
    stages["a"] = WithThumbnails("a")
    ended: Job = await run(replace(make_job(), family=FOUR_STAGES))
    image_id = ended.images[0].id
    for side_px in (256, 512):
        assert await blobs.get(thumbnail_key(image_id, side_px)) == SMALL[side_px]
    (near,) = database.fingerprints.nearest(Viewpoint(None, None), (), fingerprint_of(SMALL[256]))
    assert (near.image_id, near.distance) == (image_id, 0)
    assert database.library.without_small_files(10) == []


async def test_a_picture_whose_thumbnails_cannot_be_stored_is_made_all_the_same(
    run: Run,
    make_job: JobMaker,
    stages: dict[str, Stage],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stages["a"] = WithThumbnails("a")
    put = BlobStore.put

    async def put_pictures_only(self: BlobStore, key: str, data: bytes) -> None:
        if COPY_MARK in key:
            raise NotReady("no room")
        await put(self, key, data)

    monkeypatch.setattr(BlobStore, "put", put_pictures_only)
    ended: Job = await run(replace(make_job(), family=FOUR_STAGES))
    assert ended.state == "succeeded"
    assert database.library.without_small_files(10) == [(ended.images[0].id, "png")]
