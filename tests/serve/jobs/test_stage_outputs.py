"""Where the outputs of a family's stages go; with four stages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from serve.jobs.stage_client import OnCrash, OnMessage, StageResult
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import Job, NewJob
from tests.ray.families.four_stages import FOUR_STAGES
from tests.serve.null_stages import Stage, launched, run_to_end, stage_b_latent

JobMaker = Callable[..., NewJob]
Run = Callable[[NewJob], Any]


class HandingOn(Stage):
    """Stages B and the one after it: both make what Stage A takes."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        result = await super().call(*args, on_message=on_message, on_crash=on_crash)
        return replace(result, data=stage_b_latent(args[0]))


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


async def test_new_details_begin_after_the_kept_output(
    run: Run, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    first: Job = await run(replace(make_job(), family=FOUR_STAGES))
    vary = make_job(kind="vary_details", latent_id=first.images[0].latent_id)
    ended: Job = await run(replace(vary, family=FOUR_STAGES))
    assert ended.state == "succeeded"
    assert calls(stages) == [1, 2, 2, 2]
    assert ended.cost_s["c"] == 0
