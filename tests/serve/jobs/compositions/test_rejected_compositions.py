"""Compositions that a checker rejects are made anew, on stages that answer here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from dbos import DBOS, SetWorkflowID

from cascade_core.errors import NotFound
from serve.checker import Refusal
from serve.jobs.preview_check import PreviewCheck
from serve.jobs.workflow import JobWorkflow
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.image_store import ImageStore
from serve.storage.job_parts.parts import run_id
from serve.storage.records import ImageRow, Job, JobIdentity, NewJob
from serve.storage.waiting_store import RedoneJob
from tests.limits import HANG_S
from tests.serve.checkers import Answering
from tests.serve.jobs.compositions.continued import LIMITS, calls, resume, run, run_rest
from tests.serve.null_stages import Stage, launched, run_to_end
from tests.serve.waiting import until

JobMaker = Callable[..., NewJob]
BLANK = Refusal("blank", redo=True)


@pytest.fixture
def checker() -> Answering:
    return Answering()


@pytest_asyncio.fixture
async def workflow(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    checker: Answering,
) -> AsyncIterator[JobWorkflow]:
    async with (
        asyncio.timeout(HANG_S),
        launched(database, database_url, blobs, stages, [checker]) as workflow,
    ):
        yield workflow


def reject(checker: Answering, *seeds: int) -> None:
    checker.answer = lambda seed: BLANK if seed in seeds else None


def rejected(job: Job) -> list[tuple[int, int]]:
    return [(one["index"], one["seed"]) for one in job.to_json().get("rejected", [])]


def seeds(images: Collection[dict[str, Any]]) -> list[int]:
    return [image["seed"] for image in images]


def redo(database: Database, job: NewJob, index: int) -> str:
    identity, latent_ids = JobIdentity("01", "r", "digest"), {index: f"redo{job.id}"}
    redone = RedoneJob(job.id, job.owner, latent_ids, identity, 1.0, ["c"])
    part = database.waiting.redo(redone, LIMITS)
    assert part is not None
    return part


async def test_a_rejected_image_is_composed_anew_with_other_seeds_and_the_others_go_on(
    workflow: JobWorkflow,
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    reject(checker, 8)
    job = make_job(n=3)
    ended = await run_to_end(workflow, database, job)
    shown = ended.to_json()
    assert (ended.state, calls(stages)) == ("succeeded", [4, 3, 3])
    assert ended.cost_s["c"] == 1.0
    assert seeds(shown["images"]) == [7, 11, 9]
    one = {"index": 1, "rule": "blank", "seed": 8, "decoder_seed": job.images[1].decoder_seed}
    assert shown["rejected"] == [one]
    events = [event for event in database.events.of_job(job.id) if event.type == "rejected"]
    assert [event.data for event in events] == [one]
    with pytest.raises(NotFound):
        await blobs.get(latent_key(job.images[1].latent_id))
    row = database.images.latent(job.images[1].latent_id)
    assert row is not None
    assert row.deleted_at is not None
    assert await blobs.get(latent_key(shown["images"][1]["latent_id"]))


async def test_images_that_are_rejected_at_the_same_time_get_seeds_of_their_own(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    reject(checker, 7, 8, 9, 10)
    ended = await run_to_end(workflow, database, make_job(n=3))
    assert seeds(ended.to_json()["images"]) == [13, 11, 12]
    assert sorted(rejected(ended)) == [(0, 7), (0, 10), (1, 8), (2, 9)]
    assert sorted(seed for _, seed, _ in checker.seen) == list(range(7, 14))
    assert calls(stages) == [7, 3, 3]


def series(make_job: JobMaker) -> NewJob:
    variants = [{"colour": colour} for colour in ("red", "green", "blue")]
    values = {"prompt": "a {colour} star", "strength": 0.5, "hero_id": "01HERO"}
    return make_job(kind="series", variants=variants, n=3, **values)


async def test_a_picture_of_a_series_is_composed_anew_from_the_same_hero(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    prompts = {"a red star": None, "a green star": None, "a blue star": BLANK}
    checker.check_preview = lambda _, request, _owner: (  # type: ignore[method-assign]
        prompts[request.prompt] if request.seed == 7 else None
    )
    ended = await run_to_end(workflow, database, series(make_job))
    assert (ended.state, calls(stages)) == ("succeeded", [4, 3, 3])
    assert seeds(ended.to_json()["images"]) == [7, 7, 10]
    assert [image.source_latent_id for image in ended.images] == [None, "01HERO", "01HERO"]
    assert rejected(ended) == [(2, 7)]


async def test_the_hero_that_a_series_makes_is_refused_as_the_others_start_from_it(
    workflow: JobWorkflow, database: Database, make_job: JobMaker, checker: Answering
) -> None:
    checker.check_preview = lambda _, request, _owner: (  # type: ignore[method-assign]
        BLANK if request.prompt == "a red star" else None
    )
    ended = await run_to_end(workflow, database, series(make_job))
    assert ended.error is not None
    assert (ended.state, ended.error["code"]) == ("failed", "moderation_blocked")
    assert rejected(ended) == []


@pytest.mark.parametrize("redos", [0, 2])
async def test_an_image_that_is_rejected_more_often_than_allowed_is_refused(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
    redos: int,
) -> None:
    checker.answer = lambda _seed: BLANK
    launch = launched(database, database_url, blobs, stages, [checker], redos=redos)
    async with launch as workflow:
        ended = await run_to_end(workflow, database, make_job())
    assert ended.error is not None
    assert (ended.state, ended.error["code"]) == ("failed", "moderation_blocked")
    assert calls(stages) == [1 + redos, 0, 0]
    assert ended.cost_s["c"] == 0.25 * (1 + redos)
    assert rejected(ended) == [(0, 7 + number) for number in range(redos)]
    latent = database.images.latent(ended.images[0].latent_id)
    assert latent is not None
    assert latent.deleted_at is not None


async def test_variations_of_a_composition_are_composed_anew_and_what_does_not_change_is_refused(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    first = await run_to_end(workflow, database, make_job(seed=1))
    latent_id = first.images[0].latent_id
    reject(checker, 1, 7)
    vary = partial(make_job, kind="vary", latent_id=latent_id)
    varied = await run_to_end(workflow, database, vary(strength=0.5))
    assert (varied.state, rejected(varied)) == ("succeeded", [(0, 7)])
    hero: dict[str, Any] = {"kind": "series", "latent_id": latent_id, "strength": 0.7, "n": 2}
    variants = [{"c": "red"}, {"c": "blue"}]
    template = make_job(prompt="a {c} dot", variants=variants, **hero)
    series = await run_to_end(workflow, database, template)
    assert seeds(series.to_json()["images"]) == [9, 9]
    for job in (vary(strength=0.0), make_job(kind="vary_details", latent_id=latent_id, seed=1)):
        refused = await run_to_end(workflow, database, job)
        assert (refused.state, rejected(refused)) == ("failed", [])
    row = database.images.latent(latent_id)
    assert row is not None
    assert row.deleted_at is None


async def test_a_draft_waits_with_compositions_that_passed_and_each_redo_may_be_rejected_as_often(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    reject(checker, 8, 10, 14, 16)
    job = make_job(n=2, stop_after="c")
    waiting = await run_to_end(workflow, database, job)
    assert (waiting.state, calls(stages)) == ("waiting", [4, 0, 0])
    assert seeds(waiting.to_json()["compositions"]) == [7, 12]
    again = await run(workflow, database, run_id(job.id, redo(database, job, 1)))
    shown = again.to_json()
    assert (again.state, calls(stages)) == ("waiting", [7, 0, 0])
    assert seeds(shown["compositions"]) == [7, 18]
    assert seeds(shown["rejected"]) == [8, 10, 14, 16]
    assert seeds(shown["redone"][0]["compositions"]) == [12]
    assert len({one["preview_url"] for one in shown["compositions"]}) == 2
    resume(database, job, 1)
    ended = await run_rest(workflow, database, job)
    assert (ended.state, calls(stages)) == ("succeeded", [7, 1, 1])
    assert seeds(ended.to_json()["images"]) == [18]


async def test_a_chosen_composition_is_not_exchanged_for_one_that_its_client_has_not_seen(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    job = make_job(stop_after="c")
    await run_to_end(workflow, database, job)
    checker.answer = lambda _seed: BLANK
    resume(database, job, 0)
    ended = await run_rest(workflow, database, job)
    assert ended.error is not None
    assert (ended.error["code"], calls(stages)) == ("moderation_blocked", [1, 0, 0])


async def test_an_equal_job_reuses_the_composition_that_took_the_place_of_a_rejected_one(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    reject(checker, 7)
    first, second = [await run_to_end(workflow, database, make_job()) for _ in range(2)]
    assert [first.images[0].latent_use, second.images[0].latent_use] == ["ran", "reused"]
    assert [first.images[0].seed, second.images[0].seed] == [8, 8]
    assert rejected(second) == [(0, 7)]


async def test_a_job_that_is_cancelled_meanwhile_is_not_composed_anew(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
) -> None:
    job = make_job()

    def cancel(_seed: int) -> Refusal:
        assert database.jobs.finish(job.id, "cancelled")
        return BLANK

    checker.answer = cancel
    ended = await run_to_end(workflow, database, job)
    assert (ended.state, rejected(ended), calls(stages)) == ("cancelled", [], [1, 0, 0])


@pytest.mark.parametrize("was_recorded", [True, False])
def test_a_process_that_takes_the_job_up_repeats_neither_the_rejection_nor_what_was_stored(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
    monkeypatch: pytest.MonkeyPatch,
    was_recorded: bool,
) -> None:
    reject(checker, 8)
    job, dead = make_job(n=2), asyncio.Event()
    database.jobs.insert(job)
    record = PreviewCheck.reject

    async def dying(*args: Any) -> Any:
        if was_recorded:
            await record(*args)
        dead.set()
        await asyncio.Event().wait()

    class Endless(Stage):
        async def call(self, *args: Any, **options: Any) -> Any:
            await asyncio.Event().wait()

    async def interrupted() -> None:
        ends = stages | {"b": Endless("b")}
        async with launched(database, database_url, blobs, ends, [checker]) as workflow:
            with SetWorkflowID(job.id):
                await DBOS.start_workflow_async(workflow.run, job.id)
            await dead.wait()
            kept = database.images.latent
            await until(lambda: all(kept(image.latent_id) for image in job.images))

    async def resumed() -> None:
        async with launched(database, database_url, blobs, stages, [checker]):
            await (await DBOS.retrieve_workflow_async(job.id)).get_result()

    with monkeypatch.context() as patch:
        patch.setattr(PreviewCheck, "reject", dying)
        asyncio.run(asyncio.wait_for(interrupted(), HANG_S))
    asyncio.run(asyncio.wait_for(resumed(), HANG_S))
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert (ended.state, rejected(ended)) == ("succeeded", [(1, 8)])
    assert seeds(ended.to_json()["images"]) == [7, 10]
    assert calls(stages) == [3, 2, 2]


async def test_recording_a_rejection_again_changes_nothing(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    checker: Answering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reject(checker, 7)
    record = ImageStore.reject_composition

    def twice(*args: Any) -> ImageRow | None:
        first = record(*args)
        assert record(*args) == first
        return first

    monkeypatch.setattr(ImageStore, "reject_composition", twice)
    ended = await run_to_end(workflow, database, make_job())
    assert (rejected(ended), calls(stages)) == ([(0, 7)], [2, 1, 1])
    assert [event.type for event in database.events.of_job(ended.id)].count("rejected") == 1


async def test_a_process_that_lost_the_job_goes_on_with_the_composition_that_another_one_began(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    checker: Answering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reject(checker, 7)
    record, others = ImageStore.reject_composition, []

    def late(store: ImageStore, image: ImageRow, anew: ImageRow, rejection: Any) -> Any:
        others.append(record(store, image, replace(anew, latent_id="another"), rejection))
        return record(store, image, anew, rejection)

    monkeypatch.setattr(ImageStore, "reject_composition", late)
    ended = await run_to_end(workflow, database, make_job())
    (other,) = others
    assert ended.state == "succeeded"
    assert [image.latent_id for image in ended.images] == ["another"] == [other.latent_id]
    assert database.images.latent("another") is not None
