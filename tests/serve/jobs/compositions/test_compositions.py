"""Jobs that stop after a stage, and go on when they are continued, on stages that answer here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from dbos import DBOS, SetWorkflowID

from cascade_core.errors import StageLost
from serve.autoscaling.demand import Demand
from serve.checker import Refusal
from serve.jobs.recovery import start_orphaned
from serve.jobs.workflow import JobWorkflow
from serve.storage.blobs.blob_keys import latent_key, preview_key_from_name
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_parts.parts import CONTINUED, run_id
from serve.storage.records import NewJob
from serve.storage.waiting_store import WaitingStore
from tests.serve.jobs.compositions.continued import calls, found, resume, run, run_rest
from tests.serve.null_stages import (
    Previewer,
    Stage,
    bring_to_end,
    launched,
    make_dispatcher,
    run_to_end,
)
from tests.serve.waiting import until

JobMaker = Callable[..., NewJob]


async def test_a_draft_makes_compositions_with_previews_and_runs_no_later_stage(
    workflow: JobWorkflow,
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
    demand: Demand,
) -> None:
    workflow._watched_jobs.exclude((job := make_job(n=3, stop_after="c")).id)
    waiting = await run_to_end(workflow, database, job)
    assert (waiting.state, calls(stages)) == ("waiting", [3, 0, 0])
    assert waiting.cost_s == {"c": 0.75, "b": 0.0, "a": 0.0}
    shown = waiting.to_json()
    assert shown["images"] == []
    assert [one["index"] for one in shown["compositions"]] == [0, 1, 2]
    for image in waiting.images:
        assert await blobs.get(latent_key(image.latent_id))
        assert image.preview is not None
        assert await blobs.get(preview_key_from_name(job.id, image.preview))
    assert all(demand.stats()[f"open_work_{stage}"] == 0 for stage in stages)
    previews = [
        event.data["preview"] for event in database.events.of_job(job.id) if "preview" in event.data
    ]
    assert sorted(previews) == [image.preview for image in waiting.images]


@pytest.mark.parametrize("indices", [(1,), (0, 2), (0, 1, 2)])
async def test_the_chosen_images_are_finished_and_the_others_keep_their_latents(
    workflow: JobWorkflow,
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
    indices: tuple[int, ...],
) -> None:
    job = make_job(n=3, stop_after="c")
    await run_to_end(workflow, database, job)
    resume(database, job, *indices)
    ended = await run_rest(workflow, database, job)
    assert (ended.state, calls(stages)) == ("succeeded", [3, len(indices), len(indices)])
    shown = ended.to_json()
    assert [image["index"] for image in shown["images"]] == list(indices)
    assert [one["index"] for one in shown["compositions"]] == [0, 1, 2]
    assert shown["cost"] == {"c_s": 0.75, "b_s": 0.25 * len(indices), "a_s": 0.25 * len(indices)}
    for image in ended.images:
        assert await blobs.get(latent_key(image.latent_id))


async def test_the_stages_get_the_requests_that_they_would_have_got_at_once(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    class Noting(Stage):
        async def call(self, *args: Any, **options: Any) -> Any:
            seen.append((self.name, args[0]))
            return await super().call(*args, **options)

    stages: dict[str, Stage] = {name: Noting(name) for name in ("c", "b", "a")}
    async with launched(database, database_url, blobs, stages) as workflow:
        draft = make_job(n=2, stop_after="c", prompt="one")
        await run_to_end(workflow, database, draft)
        resume(database, draft, 1, decoder_steps=4)
        await run_rest(workflow, database, draft)
        drafted, seen[:] = sorted(seen[2:], key=str), []
        await run_to_end(workflow, database, make_job(n=2, prompt="one", decoder_steps=4))
    at_once = [call for call in seen if call[0] != "c" and call[1]["seed"] == 8]
    assert drafted == sorted(at_once, key=str)


async def test_a_draft_whose_process_died_before_its_previews_composes_nothing_again(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, lost = make_job(stop_after="c"), asyncio.Event()
    with monkeypatch.context() as patch:
        patch.setattr(Previewer, "call", lambda *_, **__: lost.wait())
        database.jobs.insert(job)
        with SetWorkflowID(job.id):
            handle = await DBOS.start_workflow_async(workflow.run, job.id)
        await until(lambda: database.images.latent(job.images[0].latent_id) is not None)
        workflow.cancel(job.id)  # as if the process ended
        await handle.get_result()
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE jobs SET state = 'running'")
    await DBOS.delete_workflows_async([job.id], delete_children=True)
    waiting = await bring_to_end(workflow, database, job.id)
    assert (waiting.state, stages["c"].calls) == ("waiting", 1)
    assert waiting.images[0].preview is not None


async def test_a_run_that_is_resumed_late_does_nothing_to_a_job_that_waits_or_goes_on(
    workflow: JobWorkflow, database: Database, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    job = make_job(stop_after="c")
    await run_to_end(workflow, database, job)
    await DBOS.delete_workflows_async([job.id])
    assert (await bring_to_end(workflow, database, job.id)).state == "waiting"
    resume(database, job, 0)
    await DBOS.delete_workflows_async([job.id])
    assert (await bring_to_end(workflow, database, job.id)).state == "queued"
    assert calls(stages) == [1, 0, 0]
    assert (await run_rest(workflow, database, job)).state == "succeeded"
    assert calls(stages) == [1, 1, 1]


async def test_a_continued_job_without_a_workflow_is_started_by_recovery(
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
    await start_orphaned(database, start)
    assert started == []
    resume(database, job, 0, 1)
    await start_orphaned(database, start)
    await start_orphaned(database, start)
    assert started == [run_id(job.id, CONTINUED)]
    assert (found(database, job.id).state, calls(stages)) == ("succeeded", [2, 2, 2])


async def test_a_continued_job_that_is_interrupted_finishes_only_what_is_missing(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    job = make_job(n=2, stop_after="c")
    await run_to_end(workflow, database, job)
    resume(database, job, 0, 1)
    database.images.save(job.images[0].id, 5, "a")  # before its process died
    ended = await run_rest(workflow, database, job)
    assert (ended.state, calls(stages)) == ("succeeded", [2, 1, 1])
    assert all(image.ready for image in ended.images)


async def test_a_composition_that_was_lost_while_its_job_waited_is_made_again(
    workflow: JobWorkflow,
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    job = make_job(stop_after="c")
    await run_to_end(workflow, database, job)
    await blobs.delete(latent_key(job.images[0].latent_id))
    resume(database, job, 0)
    assert (await run_rest(workflow, database, job)).state == "succeeded"
    assert calls(stages) == [2, 1, 1]


async def test_a_composition_that_was_lost_is_not_composed_at_another_size(
    workflow: JobWorkflow,
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    job = make_job(stop_after="c")
    await run_to_end(workflow, database, job)
    await blobs.delete(latent_key(job.images[0].latent_id))
    resume(database, job, 0, width=384, height=384)
    ended = await run_rest(workflow, database, job)
    assert (ended.state, calls(stages)) == ("failed", [1, 0, 0])
    assert ended.error is not None
    assert ended.error["code"] == "gone"


async def test_a_job_that_is_continued_as_soon_as_it_waits_stays_known_to_its_next_part(
    workflow: JobWorkflow,
    database: Database,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, begin = make_job(stop_after="c"), WaitingStore.begin

    def continued_at_once(store: WaitingStore, job_id: str, *how: Any) -> bool:
        has_begun = begin(store, job_id, *how)
        resume(database, job, 0)
        opened = database.jobs.open_job(job_id)
        assert opened is not None
        workflow._open_jobs[job_id] = opened  # as the next part does, before this call returns
        return has_begun

    monkeypatch.setattr(WaitingStore, "begin", continued_at_once)
    await run_to_end(workflow, database, job)
    assert workflow._still_open(job.id).part == CONTINUED


async def test_a_draft_of_variations_starts_from_the_stored_latent(
    workflow: JobWorkflow, database: Database, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    first = await run_to_end(workflow, database, make_job())
    latent_id = first.images[0].latent_id
    job = make_job(kind="vary", latent_id=latent_id, strength=0.7, n=2, stop_after="c")
    waiting = await run_to_end(workflow, database, job)
    assert (waiting.state, calls(stages)) == ("waiting", [3, 1, 1])
    resume(database, job, 1)
    assert (await run_rest(workflow, database, job)).state == "succeeded"
    assert calls(stages) == [3, 2, 2]


async def test_an_equal_draft_reuses_the_compositions_and_draws_their_previews(
    workflow: JobWorkflow, database: Database, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    await run_to_end(workflow, database, make_job())
    waiting = await run_to_end(workflow, database, make_job(stop_after="c"))
    assert (waiting.state, calls(stages)) == ("waiting", [1, 1, 1])
    assert waiting.images[0].latent_use == "reused"
    assert waiting.images[0].preview is not None


@pytest.mark.parametrize(("recorded", "state"), [(True, "succeeded"), (False, "queued")])
async def test_a_continued_job_that_an_earlier_release_recorded_goes_on(
    workflow: JobWorkflow, database: Database, make_job: JobMaker, recorded: bool, state: str
) -> None:
    job = make_job(stop_after="c")
    await run_to_end(workflow, database, job)
    resume(database, job, 0)
    with SetWorkflowID(run_id(job.id, CONTINUED)):
        handle = await DBOS.start_workflow_async(workflow.run, job.id, recorded)
    await handle.get_result()
    assert found(database, job.id).state == state


class Refusing:
    """Refuses every composition."""

    def check_prompt(self, *_: object) -> None:
        return None

    def check_preview(self, *_: object) -> Refusal:
        return Refusal("nudity")


async def test_a_refused_composition_is_not_shown_and_its_job_fails_instead_of_waiting(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    async with launched(database, database_url, blobs, stages, [Refusing()]) as workflow:
        ended = await run_to_end(workflow, database, make_job(n=2, stop_after="c"))
    shown = ended.to_json()
    assert (ended.state, shown["error"]["code"]) == ("failed", "moderation_blocked")
    assert shown["compositions"] == []
    assert not [one for one in database.events.of_job(ended.id) if "preview" in one.data]


async def test_a_preview_that_cannot_be_drawn_fails_its_draft(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    class Broken(Previewer):
        async def call(self, *_: Any, **__: Any) -> Any:
            raise StageLost("its replica died twice")

    dispatcher = make_dispatcher(database, stages, previewer=Broken())
    async with launched(database, database_url, blobs, stages, calls=dispatcher) as workflow:
        ended = await run_to_end(workflow, database, make_job(stop_after="c"))
    assert (ended.state, calls(stages)) == ("failed", [1, 0, 0])
