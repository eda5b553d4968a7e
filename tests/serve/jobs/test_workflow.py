"""The durable workflow, on both databases that can keep it, with stages that answer from here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from dbos import DBOS
from ulid import ULID

from cascade_core.errors import NotReady, StageLost
from cascade_core.handoff import StageCLatent
from serve.jobs.dbos_runtime import delete_workflows
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.storage.blobs.blob_keys import image_key, latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.comparisons.comparison import Comparison
from serve.storage.database import Database
from serve.storage.records import JobIdentity, JobOwner, NewJob, utc_now
from tests.serve.null_stages import (
    Stage,
    bring_to_end,
    launched,
    make_dispatcher,
    run_to_end,
)

JobMaker = Callable[..., NewJob]
Run = Callable[[NewJob], Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest_asyncio.fixture
async def run(
    database: Database, database_url: str, blobs: BlobStore, stages: dict[str, Stage]
) -> AsyncIterator[Run]:
    """Inserts a job, brings it to its end and returns it."""
    async with launched(database, database_url, blobs, stages) as workflow:
        yield partial(run_to_end, workflow, database)


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
    await run(make_job(n=2))
    assert await delete_workflows(utc_now() - timedelta(days=1)) == 0
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


async def test_an_equal_request_gets_a_copy_of_the_stored_latent(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore
) -> None:
    first = await run(make_job(decoder_seed=1))
    second = await run(make_job(decoder_seed=2, format="webp"))
    assert stages["c"].calls == 1
    assert (first.images[0].latent_use, second.images[0].latent_use) == ("ran", "reused")
    assert second.cost_s["c"] == 0
    latents = [
        StageCLatent.decode(await blobs.get(latent_key(job.images[0].latent_id)))
        for job in (first, second)
    ]
    assert np.array_equal(latents[0].latents_chw.array, latents[1].latents_chw.array)
    assert latents[1].request == second.request


async def test_a_job_of_a_comparison_computes_what_others_would_reuse(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], database: Database
) -> None:
    await run(make_job())
    owner = make_job().owner
    compared = Comparison(
        str(ULID()), owner, utc_now(), "a red circle", 7, 1, ({}, {"steps": 9}), ("demo", "demo")
    )
    database.comparisons.add(compared, JobIdentity(compared.id, None, "digest"))
    for job_id in compared.job_ids:
        job = make_job()
        ended = await run(replace(job, identity=replace(job.identity, job_id=job_id)))
        assert ended.images[0].latent_use == "ran"
    assert stages["c"].calls == 3


async def test_what_a_stage_warns_of_is_in_the_job_once_and_goes_with_the_latent(
    run: Run, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    stages["c"].warning = "only the first 75 tokens of the prompt are used"
    first = await run(make_job(n=2))
    second = await run(make_job(decoder_seed=9))
    assert first.warnings == second.warnings == (stages["c"].warning,)
    assert second.images[0].latent_use == "reused"
    assert (await run(make_job(seed=99))).warnings == (stages["c"].warning,)
    stages["c"].warning = ""
    assert (await run(make_job(seed=98))).warnings == ()


@pytest.mark.parametrize(
    "owners",
    [
        (JobOwner("ann", None), JobOwner("bob", None)),
        (JobOwner("bot", "ann"), JobOwner("bot", "bob")),
        (JobOwner("bot", "ann"), JobOwner("bot", None)),
    ],
    ids=["keys", "users of one key", "a user and the key itself"],
)
async def test_others_cannot_tell_that_a_request_was_drawn_before(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], owners: tuple[JobOwner, JobOwner]
) -> None:
    first, second = [await run(replace(make_job(), owner=owner)) for owner in owners]
    assert stages["c"].calls == 2
    assert (first.images[0].latent_use, second.images[0].latent_use) == ("ran", "ran")


@pytest.mark.parametrize(
    "change", [{"prompt": "another"}, {"seed": 99}, {"steps": 3}, {"guidance_scale": 1.5}]
)
async def test_a_request_that_stage_c_would_answer_otherwise_runs_stage_c(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], change: dict[str, Any]
) -> None:
    await run(make_job())
    job = await run(make_job(**change))
    assert stages["c"].calls == 2
    assert job.images[0].latent_use == "ran"


async def test_a_deleted_latent_is_not_used_again(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], database: Database
) -> None:
    first = await run(make_job())
    database.images.delete(first.images[0].id)
    assert (await run(make_job())).images[0].latent_use == "ran"
    assert stages["c"].calls == 2


async def test_a_latent_whose_bytes_were_lost_is_made_anew(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore
) -> None:
    first = await run(make_job())
    await blobs.delete(latent_key(first.images[0].latent_id))
    assert (await run(make_job())).images[0].latent_use == "ran"
    assert stages["c"].calls == 2


async def test_a_variation_starts_from_the_stored_latent_and_makes_one_of_its_own(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore, database: Database
) -> None:
    original = make_job()
    await run(original)
    latent_id = original.images[0].latent_id
    job = make_job(kind="vary", latent_id=latent_id, strength=0.5, n=2)
    ended = await run(job)

    assert ended.state == "succeeded"
    assert [stage.calls for stage in stages.values()] == [3, 3, 3]
    stored = await blobs.get(latent_key(latent_id))
    assert stages["c"].sources == [None, stored, stored]
    own = {image.latent_id for image in ended.images}
    assert len(own) == 2
    assert latent_id not in own
    assert [image.latent_use for image in ended.images] == ["ran", "ran"]
    for image in ended.images:
        row = database.images.latent(image.latent_id)
        assert row is not None
        assert (row.request.latent_id, row.request.strength) == (latent_id, 0.5)
        assert row.request == job.request.for_image(image.index)


async def test_each_image_of_a_series_is_a_variation_of_its_hero_with_its_own_prompt(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore, database: Database
) -> None:
    hero = make_job()
    await run(hero)
    latent_id = hero.images[0].latent_id
    variants = [{"colour": "red"}, {"colour": "blue"}, {"colour": "green"}]
    values = {"latent_id": latent_id, "strength": 0.5, "seed": 7, "decoder_seed": 9}
    series = make_job(kind="series", prompt="a {colour} star", variants=variants, n=3, **values)
    ended = await run(series)

    assert ended.state == "succeeded"
    assert [stage.calls for stage in stages.values()] == [4, 4, 4]
    stored = await blobs.get(latent_key(latent_id))
    assert stages["c"].sources == [None, stored, stored, stored]
    rows = [database.images.latent(image.latent_id) for image in ended.images]
    made = [row.request for row in rows if row is not None]
    assert [one.prompt for one in made] == ["a red star", "a blue star", "a green star"]
    assert {(one.kind, one.seed, one.decoder_seed) for one in made} == {("vary", 7, 9)}
    assert {image.seed for image in ended.images} == {7}

    again = await run(make_job(kind="vary", prompt="a blue star", **values))
    assert again.images[0].latent_use == "reused"


@pytest.fixture
def new_series(make_job: JobMaker) -> NewJob:
    """A series that makes its hero."""
    variants = [{"colour": "red"}, {"colour": "blue"}, {"colour": "green"}]
    values = {"prompt": "a {colour} star", "strength": 0.5, "hero_id": "01HERO"}
    return make_job(kind="series", variants=variants, n=3, **values)


async def test_the_images_of_a_series_wait_for_the_hero_that_it_makes(
    run: Run, new_series: NewJob, stages: dict[str, Stage], blobs: BlobStore, database: Database
) -> None:
    ended = await run(new_series)
    assert (ended.state, ended.error) == ("succeeded", None)
    assert [stage.calls for stage in stages.values()] == [3, 3, 3]
    hero = ended.images[0]
    assert hero.latent_id == "01HERO"
    stored = await blobs.get(latent_key("01HERO"))
    assert stages["c"].sources == [None, stored, stored]
    rows = [database.images.latent(image.latent_id) for image in ended.images]
    made = [(row.request.kind, row.request.latent_id) for row in rows if row is not None]
    assert made == [("generate", None), ("vary", "01HERO"), ("vary", "01HERO")]
    sources = [(image.source_latent_id, image.source_image_id) for image in ended.images]
    assert sources == [(None, None), ("01HERO", hero.id), ("01HERO", hero.id)]


async def test_an_equal_series_reuses_the_hero_that_an_earlier_one_made(
    run: Run, new_series: NewJob, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    alone = await run(make_job(prompt="a red star"))
    ended = await run(new_series)
    assert [alone.images[0].latent_use, ended.images[0].latent_use] == ["ran", "reused"]
    assert stages["c"].calls == 3


class RecordingQueue(FairQueue):
    """Keeps the cost of each call."""

    def __init__(self) -> None:
        super().__init__(1)
        self.costs: list[float] = []

    @asynccontextmanager
    async def slot(self, user: str, cost: float) -> AsyncIterator[None]:
        self.costs.append(cost)
        async with super().slot(user, cost):
            yield


async def test_the_user_of_a_series_is_charged_a_whole_composition_for_its_hero_alone(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    new_series: NewJob,
) -> None:
    queues = {name: RecordingQueue() for name in stages}
    calls = make_dispatcher(database, stages, dict(queues))
    async with launched(database, database_url, blobs, stages, calls=calls) as workflow:
        await run_to_end(workflow, database, new_series)
    hero_cost, *costs = queues["c"].costs
    assert costs == [pytest.approx(hero_cost / 2)] * 2
    assert sum(sum(queue.costs) for queue in queues.values()) == pytest.approx(new_series.work)


async def test_a_hero_that_fails_fails_its_series_before_another_image_begins(
    run: Run, new_series: NewJob, stages: dict[str, Stage]
) -> None:
    stages["c"].failure = StageLost("it died")
    ended = await run(new_series)
    assert ended.error is not None
    assert (ended.state, ended.error["code"]) == ("failed", "stage_lost")
    assert [stage.calls for stage in stages.values()] == [1, 0, 0]


class Dying(Stage):
    """A stage whose first call of one image ends the workflow, as the death of its process does."""

    def __init__(self, name: str, prompt: str) -> None:
        super().__init__(name)
        self._dies_of = prompt

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        if args[0]["prompt"] == self._dies_of:
            self._dies_of = ""
            raise NotReady("this process dies")
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


@pytest.mark.parametrize(
    ("stage", "colour"), [("c", "red"), ("b", "red"), ("c", "blue"), ("a", "green")]
)
async def test_a_series_whose_process_dies_goes_on_and_composes_each_image_once(
    new_series: NewJob,
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    stage: str,
    colour: str,
) -> None:
    stages[stage] = Dying(stage, f"a {colour} star")
    async with launched(database, database_url, blobs, stages) as workflow:
        with pytest.raises(NotReady):
            await run_to_end(workflow, database, new_series)
        known = await DBOS.list_workflows_async()
        await DBOS.delete_workflows_async([one.workflow_id for one in known])
        ended = await bring_to_end(workflow, database, new_series.id)
    assert (ended.state, ended.error) == ("succeeded", None)
    stored = await blobs.get(latent_key("01HERO"))
    assert stages["c"].sources == [None, stored, stored]


async def test_a_decoding_shares_the_latent_and_runs_no_stage_c(
    run: Run, make_job: JobMaker, stages: dict[str, Stage]
) -> None:
    original = make_job()
    await run(original)
    latent_id = original.images[0].latent_id
    ended = await run(make_job(kind="decode", latent_id=latent_id, width=512, height=512))

    assert [stage.calls for stage in stages.values()] == [1, 2, 2]
    [image] = ended.images
    assert (image.latent_id, image.latent_use) == (latent_id, "stored")
    assert (image.width, image.height) == (512, 512)


@pytest.mark.parametrize(
    ("change", "use"), [({}, "reused"), ({"strength": 0.6}, "ran"), ({"prompt": "another"}, "ran")]
)
async def test_an_equal_variation_gets_a_copy_of_the_stored_latent_and_another_does_not(
    run: Run, make_job: JobMaker, change: dict[str, Any], use: str
) -> None:
    first = make_job()
    await run(first)
    values = {"kind": "vary", "latent_id": first.images[0].latent_id, "strength": 0.5}
    assert (await run(make_job(**values))).images[0].latent_use == "ran"
    assert (await run(make_job(**values | change))).images[0].latent_use == use


async def test_variations_of_two_latents_are_not_equal(run: Run, make_job: JobMaker) -> None:
    for seed in (1, 2):
        original = make_job(seed=seed)
        await run(original)
        values = {"kind": "vary", "strength": 0.5, "seed": 7}
        ended = await run(make_job(latent_id=original.images[0].latent_id, **values))
        assert ended.images[0].latent_use == "ran"


async def test_a_variation_of_a_latent_whose_bytes_were_lost_fails_as_gone(
    run: Run, make_job: JobMaker, blobs: BlobStore
) -> None:
    original = make_job()
    await run(original)
    latent_id = original.images[0].latent_id
    await blobs.delete(latent_key(latent_id))
    ended = await run(make_job(kind="vary", latent_id=latent_id, strength=0.5))
    assert (ended.state, (ended.error or {}).get("code")) == ("failed", "gone")
