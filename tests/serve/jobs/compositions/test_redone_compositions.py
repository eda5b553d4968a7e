"""Compositions made anew on stages that answer here: seeds, durability, what stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from dbos import DBOS

from cascade_core.errors import StageLost
from cascade_core.handoff import StageCLatent
from serve.checker import Refusal
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.jobs.preview_check import PreviewCheck
from serve.jobs.recovery import start_orphaned
from serve.jobs.workflow import JobWorkflow
from serve.storage.blobs.blob_keys import latent_key, preview_key_from_name
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_parts.parts import run_id
from serve.storage.records import JobIdentity, NewJob, OpenJob
from serve.storage.waiting_store import RedoneJob
from tests.serve.checkers import Answering
from tests.serve.fake_jobs_client import PREVIEW
from tests.serve.jobs.compositions.continued import LIMITS, calls, found, resume, run, run_rest
from tests.serve.null_stages import (
    Previewer,
    Stage,
    bring_to_end,
    launched,
    run_to_end,
)

JobMaker = Callable[..., NewJob]


def redo(database: Database, job: NewJob, *indices: int, key: str = "first") -> str:
    """Have compositions made anew; returns the id of the workflow that does it."""
    latent_ids = {index: f"{key}{index}{job.id}" for index in indices}
    identity = JobIdentity("01", key, "digest")
    redone = RedoneJob(job.id, job.owner, latent_ids, identity, 1.0, ["c"])
    part = database.waiting.redo(redone, LIMITS)
    assert part is not None
    return run_id(job.id, part)


async def test_a_redo_composes_the_chosen_images_anew_and_keeps_the_earlier_compositions(
    workflow: JobWorkflow,
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    job = make_job(n=3, stop_after="c", seed=7, decoder_seed=7)
    first = await run_to_end(workflow, database, job)
    waiting = await run(workflow, database, redo(database, job, 1))
    assert (waiting.state, calls(stages)) == ("waiting", [4, 0, 0])
    assert waiting.cost_s["c"] == 1.0
    assert [image.seed for image in waiting.images] == [7, 11, 9]
    old, new = first.images[1], waiting.images[1]
    assert await blobs.get(latent_key(old.latent_id))
    latent = StageCLatent.decode(await blobs.get(latent_key(new.latent_id)))
    assert (latent.request.seed, latent.request.decoder_seed) == (11, 11)
    assert old.preview is not None
    assert new.preview is not None
    assert old.preview != new.preview
    for preview in (old.preview, new.preview):
        assert await blobs.get(preview_key_from_name(job.id, preview))
    resume(database, job, 0, 1)
    ended = await run_rest(workflow, database, job)
    assert (ended.state, calls(stages)) == ("succeeded", [4, 2, 2])
    shown = ended.to_json()
    assert [(image["index"], image["seed"]) for image in shown["images"]] == [(0, 7), (1, 11)]
    assert shown["images"][1]["latent_id"] == new.latent_id
    assert shown["redone"][0]["compositions"] == [first.to_json()["compositions"][1]]


async def test_a_redo_makes_the_composition_that_a_larger_job_makes(
    database: Database, database_url: str, blobs: BlobStore, make_job: JobMaker
) -> None:
    seen: list[dict[str, Any]] = []

    class Noting(Stage):
        async def call(self, *args: Any, **options: Any) -> Any:
            seen.append(args[0])
            return await super().call(*args, **options)

    stages: dict[str, Stage] = {name: Noting(name) for name in ("c", "b", "a")}
    async with launched(database, database_url, blobs, stages) as workflow:
        job = make_job(n=2, stop_after="c", prompt="one", seed=5)
        await run_to_end(workflow, database, job)
        await run(workflow, database, redo(database, job, 0))
        await run(workflow, database, redo(database, job, 0, key="second"))
    assert seen[2:] == [replace(job.request, n=6).for_image(i).to_dict() for i in (2, 4)]


async def test_a_redo_whose_process_died_composes_only_what_is_missing(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.jobs.recovery.ORPHANED_AFTER", timedelta())
    started: list[str] = []

    async def start(workflow_id: str) -> None:
        started.append(workflow_id)
        await run(workflow, database, workflow_id)

    job = make_job(n=2, stop_after="c")
    await run_to_end(workflow, database, job)
    redone, begun = redo(database, job, 1), asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(Previewer, "call", never)
        running = asyncio.create_task(run(workflow, database, redone))
        await begun.wait()
        workflow.cancel(job.id)  # as if the process ended
        await running
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE jobs SET state = 'running'")
    await DBOS.delete_workflows_async([redone], delete_children=True)
    await start_orphaned(database, start)
    await start_orphaned(database, start)
    assert started == [redone]
    assert (found(database, job.id).state, calls(stages)) == ("waiting", [3, 0, 0])


class FailingOnce(Stage):
    """Makes a composition once; then it fails."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        if self.calls:
            raise StageLost("two replicas died")
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


async def test_a_job_whose_redo_fails_waits_with_what_it_had_and_says_why(
    workflow: JobWorkflow,
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    job = make_job(n=3, stop_after="c")
    before = await run_to_end(workflow, database, job)
    sound, stages["c"] = stages["c"], FailingOnce("c")
    after = await run(workflow, database, redo(database, job, 0, 2))
    assert (after.state, after.error) == ("waiting", None)
    assert after.warnings == ("composing anew failed: two replicas died",)
    made = [
        new.latent_id != old.latent_id for new, old in zip(after.images, before.images, strict=True)
    ]
    assert made.count(True) <= 1
    assert made[1] is False
    for new, old, is_new in zip(after.images, before.images, made, strict=True):
        assert await blobs.get(latent_key(new.latent_id))
        assert is_new or replace(new, redo_count=0) == old
    [redone] = after.to_json()["redone"]
    assert [one["index"] for one in redone["compositions"]] == [
        index for index, is_new in enumerate(made) if is_new
    ]
    stages["c"] = sound
    again = await run(workflow, database, redo(database, job, 2, key="second"))
    assert again.state == "waiting"
    assert again.images[2].latent_id not in {image.latent_id for image in before.images}
    resume(database, job, 0, 1, 2)
    assert (await run_rest(workflow, database, job)).state == "succeeded"


async def test_a_refusal_takes_what_the_redo_made_or_what_was_chosen_and_nothing_else(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    checker, job = Answering(), make_job(n=3, stop_after="c", seed=7)
    async with launched(database, database_url, blobs, stages, [checker]) as workflow:
        before = await run_to_end(workflow, database, job)
        latent_ids = [image.latent_id for image in before.images]
        checker.answer = lambda seed: Refusal("nudity") if seed == 10 else None
        after = await run(workflow, database, redo(database, job, 0))
        assert (after.state, after.error) == ("waiting", None)
        [warning] = after.warnings
        assert warning.endswith("the composition is refused by the rule 'nudity'")
        assert [image.latent_id for image in after.images] == latent_ids
        for latent_id in latent_ids:
            assert await blobs.get(latent_key(latent_id))
        assert is_deleted(database, f"first0{job.id}")
        checker.answer = lambda _seed: Refusal("nudity")
        resume(database, job, 1)
        ended = await run_rest(workflow, database, job)
    assert (ended.state, (ended.error or {}).get("code")) == ("failed", "moderation_blocked")
    assert [is_deleted(database, latent_id) for latent_id in latent_ids] == [False, True, False]
    assert [one["index"] for one in ended.to_json()["compositions"]] == [0, 2]


def is_deleted(database: Database, latent_id: str) -> bool:
    latent = database.images.latent(latent_id)
    assert latent is not None
    return latent.deleted_at is not None


async def test_a_run_that_is_resumed_late_does_nothing_to_a_job_that_is_redone(
    workflow: JobWorkflow, database: Database, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    job = make_job(stop_after="c")
    await run_to_end(workflow, database, job)
    redone = redo(database, job, 0)
    await DBOS.delete_workflows_async([job.id])
    assert (await bring_to_end(workflow, database, job.id)).state == "queued"
    assert calls(stages) == [1, 0, 0]
    assert (await run(workflow, database, redone)).state == "waiting"
    await DBOS.delete_workflows_async([redone])
    redo(database, job, 0, key="second")
    assert (await run(workflow, database, redone)).state == "queued"
    assert calls(stages) == [2, 0, 0]


class Showing(Stage):
    """Shows a preview of its first step."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        on_message({"type": "step", "step": 1, "steps": 20, "preview": PREVIEW})
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


async def test_a_preview_of_a_redo_does_not_take_the_place_of_an_earlier_one(
    workflow: JobWorkflow, database: Database, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    stages["c"], job = Showing("c"), make_job(stop_after="c")
    await run_to_end(workflow, database, job)
    await run(workflow, database, redo(database, job, 0))
    steps = [event.data for event in database.events.of_job(job.id) if event.type == "progress"]
    first = [step["preview"] for step in steps if step["step"] == 1]
    assert len(first) == len(set(first)) == 2


async def test_an_image_goes_on_with_its_seeds_while_another_one_is_composed_anew(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checker = Answering(lambda seed: Refusal("blank", redo=True) if seed in (7, 8) else None)
    both, is_checked, is_composed = asyncio.Barrier(2), asyncio.Event(), asyncio.Event()
    record, check = PreviewCheck.reject, PreviewCheck.check

    async def overtaken(self: PreviewCheck, job: OpenJob, index: int, rule: str) -> OpenJob:
        await both.wait()  # both begin with what their job was before
        anew = await record(self, job, index, rule)
        if index == 0:
            await is_checked.wait()
        return anew

    async def late(self: PreviewCheck, job: OpenJob, index: int, *args: Any, **how: Any) -> None:
        if index == 1 and job.rejections:
            is_checked.set()
            await is_composed.wait()
        await check(self, job, index, *args, **how)

    class Noting(Stage):
        async def call(self, request: dict[str, Any], *args: Any, **options: Any) -> Any:
            made.append((self.name, request["seed"]))
            if request["seed"] == 9:
                is_composed.set()
            return await super().call(request, *args, **options)

    made: list[tuple[str, int]] = []
    for name in ("c", "b"):
        stages[name] = Noting(name)
    monkeypatch.setattr(PreviewCheck, "reject", overtaken)
    monkeypatch.setattr(PreviewCheck, "check", late)
    async with launched(database, database_url, blobs, stages, [checker]) as workflow:
        ended = await run_to_end(workflow, database, make_job(n=2))
    assert [image.seed for image in ended.images] == [9, 10]
    assert sorted(made) == [("b", 9), ("b", 10), ("c", 7), ("c", 8), ("c", 9), ("c", 10)]
