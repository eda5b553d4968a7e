"""Compositions on their way from Stage C to Stage B, under the eyes of a checker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from dbos import DBOS, SetWorkflowID

from cascade_core.errors import NotFound
from serve.autoscaling.demand import Demand, open_work_key
from serve.checker import Refusal
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.image_store import ImageStore
from serve.storage.records import Job, NewJob
from tests.limits import HANG_S
from tests.serve.checkers import Answering
from tests.serve.fake_jobs_client import PREVIEW
from tests.serve.null_stages import Previewer, Stage, launched, make_dispatcher, run_to_end
from tests.serve.waiting import until

JobMaker = Callable[..., NewJob]
NUDITY = Refusal("nudity")


class Showing(Stage):
    """Stage C with a preview on the way."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        on_message({"type": "step", "step": 1, "steps": 2, "preview": PREVIEW})
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


class Endless(Stage):
    """A stage that only a cancellation ends."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun = asyncio.Event()

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.calls += 1
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")


class RecordingQueue(FairQueue):
    """Tells when a slot is requested."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.asked = asyncio.Event()

    @asynccontextmanager
    async def slot(self, user: str, cost: float) -> AsyncIterator[None]:
        self.asked.set()
        async with super().slot(user, cost):
            yield


@pytest.fixture
def stages() -> dict[str, Stage]:
    return {"c": Showing("c"), "b": Stage("b"), "a": Stage("a")}


@pytest.fixture
def checker() -> Answering:
    return Answering()


Run = Callable[[NewJob], Any]


@pytest_asyncio.fixture
async def run(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    checker: Answering,
    demand: Demand,
) -> AsyncIterator[Run]:
    async with launched(database, database_url, blobs, stages, [checker], demand) as workflow:

        async def run(job: NewJob) -> Job:
            async with asyncio.timeout(HANG_S):
                return await run_to_end(workflow, database, job)

        yield run


async def is_latent_there(latent_id: str, database: Database, blobs: BlobStore) -> bool:
    row = database.images.latent(latent_id)
    has_row = row is not None and row.deleted_at is None
    try:
        await blobs.get(latent_key(latent_id))
    except NotFound:
        assert not has_row
        return False
    return has_row


def shown(database: Database, job_id: str) -> list[tuple[str, int, bool]]:
    return [
        (event.data["stage"], event.data["step"], "preview" in event.data)
        for event in database.events.of_job(job_id)
        if event.type == "progress"
    ]


async def test_a_refused_composition_names_its_rule_and_never_reaches_stage_b(
    run: Run,
    make_job: JobMaker,
    checker: Answering,
    stages: dict[str, Stage],
    database: Database,
    blobs: BlobStore,
) -> None:
    checker.answer = lambda _seed: NUDITY
    job = make_job()
    ended = await run(job)
    assert ended.state == "failed"
    assert ended.error == {
        "code": "moderation_blocked",
        "message": "the composition is refused by the rule 'nudity'",
    }
    assert [stage.calls for stage in stages.values()] == [1, 0, 0]
    assert checker.seen == [("WEBP", 7, "a red circle")]
    assert not await is_latent_there(job.images[0].latent_id, database, blobs)
    assert not any(has_preview for *_, has_preview in shown(database, job.id))
    assert [chunk async for chunk in blobs.list_folder("previews")] == []


async def test_what_passed_is_shown_and_nothing_before_it_was_checked(
    run: Run, make_job: JobMaker, checker: Answering, database: Database
) -> None:
    job = make_job(steps=12)
    shown_at_check = []

    def look(_seed: int) -> None:
        shown_at_check.extend(has_preview for *_, has_preview in shown(database, job.id))

    checker.answer = look
    assert (await run(job)).state == "succeeded"
    assert checker.seen
    assert not any(shown_at_check)
    assert shown(database, job.id) == [("c", 1, False), ("c", 12, True)]


async def test_a_checker_sees_the_composition_of_a_job_that_no_client_watches(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    checker: Answering,
    make_job: JobMaker,
) -> None:
    job, watched_jobs = make_job(steps=12), WatchedJobs()
    watched_jobs.exclude(job.id)
    launch = launched(database, database_url, blobs, stages, [checker], watched_jobs=watched_jobs)
    async with launch as workflow:
        assert (await run_to_end(workflow, database, job)).state == "succeeded"
    assert checker.seen == [("WEBP", 7, "a red circle")]
    assert shown(database, job.id) == [("c", 1, False)]


async def test_no_preview_is_drawn_where_no_checker_looks(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    make_job: JobMaker,
) -> None:
    async with launched(database, database_url, blobs, stages) as workflow:
        job = make_job(steps=12)
        assert (await run_to_end(workflow, database, job)).state == "succeeded"
    assert shown(database, job.id) == [("c", 1, True)]


async def test_a_reused_latent_is_checked_again(
    run: Run,
    make_job: JobMaker,
    checker: Answering,
    stages: dict[str, Stage],
    database: Database,
    blobs: BlobStore,
) -> None:
    first = await run(make_job())
    checker.answer = lambda _seed: NUDITY
    second = await run(make_job())
    assert (first.state, second.state) == ("succeeded", "failed")
    assert [stage.calls for stage in stages.values()] == [1, 1, 1]
    assert await is_latent_there(first.images[0].latent_id, database, blobs)
    assert not await is_latent_there(second.images[0].latent_id, database, blobs)


async def test_a_variation_is_checked_and_takes_no_latent_of_others_along(
    run: Run,
    make_job: JobMaker,
    checker: Answering,
    stages: dict[str, Stage],
    database: Database,
    blobs: BlobStore,
) -> None:
    first = await run(make_job())
    latent_id = first.images[0].latent_id
    checker.answer = lambda _seed: NUDITY
    varied = await run(make_job(kind="vary_details", latent_id=latent_id))
    assert varied.error is not None
    assert varied.error["code"] == "moderation_blocked"
    assert stages["b"].calls == 1
    assert await is_latent_there(latent_id, database, blobs)


async def test_a_variation_keeps_a_replica_of_stage_c_to_draw_what_is_checked(
    run: Run, make_job: JobMaker, checker: Answering, demand: Demand
) -> None:
    first = await run(make_job())
    open_work = []
    checker.answer = lambda _seed: open_work.append(demand.stats()[open_work_key("c")])
    await run(make_job(kind="vary_details", latent_id=first.images[0].latent_id))
    assert open_work[0] > 0
    assert demand.stats()[open_work_key("c")] == 0


async def test_a_preview_for_checkers_waits_for_a_slot_at_stage_c(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    checker: Answering,
    make_job: JobMaker,
) -> None:
    queues, previewer = {name: RecordingQueue(1) for name in stages}, Previewer()
    calls = make_dispatcher(database, stages, {**queues}, previewer)
    async with (
        launched(database, database_url, blobs, stages, [checker], calls=calls) as workflow,
        asyncio.timeout(HANG_S),
    ):
        latent_id = (await run_to_end(workflow, database, make_job())).images[0].latent_id
        varied = make_job(kind="vary_details", latent_id=latent_id)
        async with queues["c"].slot("another", 1.0):
            queues["c"].asked.clear()
            ending = asyncio.create_task(run_to_end(workflow, database, varied))
            await queues["c"].asked.wait()
            assert (previewer.calls, stages["b"].calls) == (1, 1)
        assert (await ending).state == "succeeded"
    assert (previewer.calls, stages["b"].calls) == (2, 2)


async def test_a_job_that_is_cancelled_while_its_preview_waits_leaves_the_queue(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    checker: Answering,
    make_job: JobMaker,
) -> None:
    queues = {name: RecordingQueue(1) for name in stages}
    calls = make_dispatcher(database, stages, {**queues})
    async with (
        launched(database, database_url, blobs, stages, [checker], calls=calls) as workflow,
        asyncio.timeout(HANG_S),
    ):
        latent_id = (await run_to_end(workflow, database, make_job())).images[0].latent_id
        varied = make_job(kind="vary_details", latent_id=latent_id)
        async with queues["c"].slot("another", 1.0):
            queues["c"].asked.clear()
            ending = asyncio.create_task(run_to_end(workflow, database, varied))
            await queues["c"].asked.wait()
            database.jobs.finish(varied.id, "cancelled")
            workflow.cancel(varied.id)
            assert (await ending).state == "cancelled"
            assert queues["c"].waiting_calls == 0


async def test_one_refused_image_fails_the_job_and_stops_the_others(
    run: Run,
    make_job: JobMaker,
    checker: Answering,
    stages: dict[str, Stage],
    database: Database,
    blobs: BlobStore,
) -> None:
    stages["b"] = Endless("b")
    checker.answer = lambda seed: NUDITY if seed == 8 else None
    job = make_job(n=3)
    ended = await run(job)
    assert ended.error is not None
    assert (ended.state, ended.error["code"]) == ("failed", "moderation_blocked")
    assert stages["a"].calls == 0
    for image in job.images:
        assert not await is_latent_there(image.latent_id, database, blobs)


async def test_images_that_were_finished_before_one_is_refused_stay(
    run: Run,
    make_job: JobMaker,
    checker: Answering,
    database: Database,
    blobs: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job(n=2)
    is_first_ready = asyncio.Event()
    save = ImageStore.save

    def save_image(*args: Any) -> bool:
        is_new = save(*args)
        loop.call_soon_threadsafe(is_first_ready.set)
        return is_new

    def refuse_second(seed: int) -> Refusal | None:
        if seed == 7:
            return None
        asyncio.run_coroutine_threadsafe(is_first_ready.wait(), loop).result(HANG_S)
        return NUDITY

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(ImageStore, "save", save_image)
    checker.answer = refuse_second
    ended = await run(job)
    assert ended.state == "failed"
    assert [image["index"] for image in ended.to_json()["images"]] == [0]
    there = [await is_latent_there(image.latent_id, database, blobs) for image in job.images]
    assert there == [True, False]


async def test_a_checker_that_fails_fails_the_job_before_stage_b(
    run: Run,
    make_job: JobMaker,
    checker: Answering,
    stages: dict[str, Stage],
    database: Database,
    blobs: BlobStore,
) -> None:
    def fail(_seed: int) -> None:
        raise RuntimeError("no answer")

    checker.answer = fail
    job = make_job()
    ended = await run(job)
    assert ended.error is not None
    assert (ended.state, ended.error["code"]) == ("failed", "moderation_failed")
    assert stages["b"].calls == 0
    checker.answer = lambda _seed: None
    assert (await run(make_job())).images[0].latent_use == "reused"


def test_a_composition_is_checked_by_the_process_that_takes_the_job_up_again(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    checker: Answering,
    make_job: JobMaker,
) -> None:
    job = make_job()
    database.jobs.insert(job)
    checker.answer = lambda _seed: NUDITY

    async def interrupted() -> None:
        endless = Endless("b")
        async with launched(database, database_url, blobs, stages | {"b": endless}) as workflow:
            with SetWorkflowID(job.id):
                await DBOS.start_workflow_async(workflow.run, job.id)
            await endless.begun.wait()
            # Stage B runs while the latent is stored.
            await until(lambda: database.images.latent(job.images[0].latent_id) is not None)

    async def resumed() -> None:
        async with launched(database, database_url, blobs, stages, [checker]):
            await (await DBOS.retrieve_workflow_async(job.id)).get_result()

    for process in (interrupted, resumed):
        asyncio.run(asyncio.wait_for(process(), HANG_S))
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert ended.error is not None
    assert (ended.state, ended.error["code"]) == ("failed", "moderation_blocked")
    assert [stage.calls for stage in stages.values()] == [1, 0, 0]
