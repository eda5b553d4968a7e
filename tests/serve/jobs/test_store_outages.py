"""Stores that do not answer for a moment, and files that were lost or damaged, cost no job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial, wraps
from inspect import iscoroutinefunction
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from dbos import DBOS

from cascade_core.errors import CascadeError, Internal, NotReady
from cascade_core.handoff import StageBLatent, StageCLatent
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.image_store import ImageStore
from serve.storage.job_queue.deadline_store import UNKNOWN_DEADLINE_S
from serve.storage.job_store import JobStore
from serve.storage.records import Job, NewJob
from serve.storage.waiting_store import WaitingStore
from tests.limits import HANG_S
from tests.serve.checkers import Answering
from tests.serve.fake_jobs_client import PREVIEW
from tests.serve.null_stages import Stage, bring_to_end, launched, run_to_end, stage_b_latent

JobMaker = Callable[..., NewJob]
Run = Callable[[NewJob], Any]
DAMAGED = b"damaged"


class Decoding(Stage):
    """A stage that shows a preview, and reads what it gets as a real one does."""

    failure: CascadeError | None = None

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        if self.failure is not None:
            self.calls += 1
            raise self.failure
        on_message({"type": "step", "step": 1, "steps": 2, "preview": PREVIEW})
        result = await super().call(*args, on_message=on_message, on_crash=on_crash)
        if self.name == "c":
            return result
        if self.name == "b":
            StageCLatent.decode(args[1])
            return StageResult(stage_b_latent(args[0]), 0.25)
        StageBLatent.decode(args[1])
        return result


@pytest.fixture
def stages() -> dict[str, Decoding]:
    return {name: Decoding(name) for name in ("c", "b", "a")}


@pytest_asyncio.fixture
async def run(
    database: Database, database_url: str, blobs: BlobStore, stages: dict[str, Stage]
) -> AsyncIterator[Run]:
    async with launched(database, database_url, blobs, stages) as workflow:
        yield partial(run_to_end, workflow, database)


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes a method fail; returns the list of its calls that did."""
    monkeypatch.setattr("serve.storage.retry.FIRST_PAUSE_S", 0.001)

    def make(of: type, method: str, times: int = 1000, key: str = "") -> list[str]:
        works, failed = getattr(of, method), []

        def check(args: tuple[Any, ...]) -> None:
            if len(failed) < times and str(args[0]).startswith(key):
                failed.append(str(args))
                raise NotReady("it does not answer")

        @wraps(works)
        def call(self: Any, *args: Any, **options: Any) -> Any:
            check(args)
            return works(self, *args, **options)

        @wraps(works)
        async def call_async(self: Any, *args: Any) -> Any:
            check(args)
            return await works(self, *args)

        monkeypatch.setattr(of, method, call_async if iscoroutinefunction(works) else call)
        return failed

    return make


def calls(stages: dict[str, Stage]) -> list[int]:
    return [stage.calls for stage in stages.values()]


@pytest.mark.parametrize(
    ("of", "method", "key"),
    [
        (BlobStore, "put", "previews/"),
        (ImageStore, "find_equal_latent", ""),
        (JobStore, "record_progress", ""),
    ],
)
async def test_what_a_job_can_do_without_fails_for_good_and_the_job_succeeds(
    run: Run,
    make_job: JobMaker,
    stages: dict[str, Stage],
    fails: Callable[..., list[str]],
    of: type,
    method: str,
    key: str,
) -> None:
    failed = fails(of, method, key=key)
    stages["c"].warning = "too long"
    ended = await run(make_job())
    assert (ended.state, ended.error) == ("succeeded", None)
    assert calls(stages) == [1, 1, 1]
    assert failed


@pytest.mark.parametrize(
    ("of", "method", "key", "stop_after"),
    [
        (BlobStore, "put", "latents/", None),
        (BlobStore, "put", "images/", None),
        (JobStore, "open_job", "", None),
        (ImageStore, "latent", "", None),
        (ImageStore, "save_latent", "", None),
        (ImageStore, "save", "", None),
        (JobStore, "finish", "", None),
        (BlobStore, "put", "previews/", "c"),
        (ImageStore, "save_preview", "", "c"),
        (WaitingStore, "begin", "", "c"),
    ],
)
async def test_what_a_job_needs_is_tried_until_it_works_and_repeats_no_stage(
    run: Run,
    make_job: JobMaker,
    stages: dict[str, Stage],
    fails: Callable[..., list[str]],
    of: type,
    method: str,
    key: str,
    stop_after: str | None,
) -> None:
    failed = fails(of, method, times=3, key=key)
    ended = await run(make_job(stop_after=stop_after))
    assert ended.state == ("waiting" if stop_after else "succeeded")
    assert calls(stages) == ([1, 0, 0] if stop_after else [1, 1, 1])
    assert len(failed) == 3


async def test_a_stored_latent_is_read_until_it_works_and_repeats_no_stage(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], fails: Callable[..., list[str]]
) -> None:
    latent_id = (await run(make_job())).images[0].latent_id
    failed = fails(BlobStore, "get", times=3)
    assert (await run(make_job(kind="vary_details", latent_id=latent_id))).state == "succeeded"
    assert calls(stages) == [1, 2, 2]
    assert len(failed) == 3


@pytest.mark.parametrize(("method", "key"), [("put", "images/"), ("get", "latents/")])
async def test_the_time_without_the_blob_store_does_not_count_against_the_deadline(
    run: Run,
    make_job: JobMaker,
    fails: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    key: str,
) -> None:
    latent_id = (await run(make_job())).images[0].latent_id
    undisturbed = await run(make_job(kind="vary_details", latent_id=latent_id))
    clock = SimpleNamespace(monotonic=partial(next, count(step=100)))  # each look 100 s later
    monkeypatch.setattr("serve.storage.retry.time", clock)
    fails(BlobStore, method, times=3, key=key)
    ended = await run(make_job(kind="vary_details", latent_id=latent_id))
    assert ended.state == "succeeded"
    assert allowed_s(ended) == pytest.approx(allowed_s(undisturbed) + 3 * 100, abs=20)


def allowed_s(job: Job) -> float:
    assert job.deadline_at is not None
    return (job.deadline_at - job.created_at).total_seconds()


async def test_images_that_wait_for_the_blob_store_together_move_their_deadline_on_once(
    run: Run,
    make_job: JobMaker,
    fails: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = fails(BlobStore, "put", times=8, key="latents/")
    clock = SimpleNamespace(monotonic=lambda: 100.0 * len(failed))
    monkeypatch.setattr("serve.storage.retry.time", clock)
    ended = await run(make_job(n=4))
    assert allowed_s(ended) == pytest.approx(UNKNOWN_DEADLINE_S + 8 * 100, abs=20)


async def test_a_latent_is_made_anew_when_its_warnings_cannot_be_copied(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stay_locked(*_: Any) -> None:
        raise NotReady("it does not answer")

    await run(make_job())
    monkeypatch.setattr(JobStore, "copy_warnings", stay_locked)
    ended = await run(make_job())
    assert (ended.state, ended.images[0].latent_use) == ("succeeded", "ran")


async def test_a_checked_preview_that_cannot_be_stored_costs_no_job(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    make_job: JobMaker,
    fails: Callable[..., list[str]],
) -> None:
    failed = fails(BlobStore, "put", key="previews/")
    async with launched(database, database_url, blobs, stages, [Answering()]) as workflow:
        assert (await run_to_end(workflow, database, make_job(steps=12))).state == "succeeded"
    assert any("-c-12.webp" in key for key in failed)


async def test_a_damaged_latent_is_set_aside_and_its_successor_is_used_again(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore
) -> None:
    first = await run(make_job())
    await blobs.put(latent_key(first.images[0].latent_id), DAMAGED)
    later = [await run(make_job()) for _ in range(2)]
    assert [(job.state, job.images[0].latent_use) for job in later] == [
        ("succeeded", "ran"),
        ("succeeded", "reused"),
    ]
    assert stages["c"].calls == 2


async def test_a_lost_latent_is_set_aside_and_its_successor_is_used_again(
    run: Run, make_job: JobMaker, blobs: BlobStore
) -> None:
    first = await run(make_job())
    await blobs.delete(latent_key(first.images[0].latent_id))
    assert [(await run(make_job())).images[0].latent_use for _ in range(2)] == ["ran", "reused"]


async def test_a_variation_of_a_damaged_latent_fails_with_the_reason(
    run: Run, make_job: JobMaker, stages: dict[str, Stage], blobs: BlobStore
) -> None:
    latent_id = (await run(make_job())).images[0].latent_id
    await blobs.put(latent_key(latent_id), DAMAGED)
    ended = await run(make_job(kind="vary_details", latent_id=latent_id))
    assert ended.error == {
        "code": "gone",
        "message": "this latent is recorded, but its file in the store is damaged",
    }
    assert stages["c"].calls == 1


async def damage(blobs: BlobStore, key: str) -> None:
    await blobs.put(key, DAMAGED)


async def lose(blobs: BlobStore, key: str) -> None:
    await blobs.delete(key)


async def keep(_blobs: BlobStore, _key: str) -> None:
    pass


class Dying(Decoding):
    """A stage whose first call ends the workflow, as the death of its process does."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        if not self.calls:
            self.calls += 1
            raise NotReady("this process dies")
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


@pytest.mark.parametrize(
    ("spoil", "stage_c_calls", "stage_b_calls"), [(keep, 1, 3), (damage, 2, 4), (lose, 2, 3)]
)
@pytest.mark.parametrize("dying", ["b", "a"])
async def test_a_job_goes_on_from_its_latent_and_makes_a_spoilt_one_anew(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Decoding],
    make_job: JobMaker,
    spoil: Callable[[BlobStore, str], Any],
    stage_c_calls: int,
    stage_b_calls: int,
    dying: str,
) -> None:
    stages[dying] = Dying(dying)
    job = make_job()
    key = latent_key(job.images[0].latent_id)
    async with launched(database, database_url, blobs, stages) as workflow:
        with pytest.raises(NotReady):
            await run_to_end(workflow, database, job)
        await spoil(blobs, key)
        await DBOS.delete_workflows_async([job.id])
        ended = await bring_to_end(workflow, database, job.id)
        again = await run_to_end(workflow, database, make_job())
    assert (ended.state, ended.error) == ("succeeded", None)
    assert calls(stages) == [stage_c_calls, stage_b_calls, 3 if dying == "a" else 2]
    assert np.isfinite(StageCLatent.decode(await blobs.get(key)).latents_chw.array).all()
    assert again.images[0].latent_use == "reused"


async def test_a_latent_is_stored_also_if_a_later_stage_fails(
    run: Run, make_job: JobMaker, stages: dict[str, Decoding]
) -> None:
    stages["b"].failure = Internal("it failed")
    failed = await run(make_job())
    assert failed.error is not None
    assert failed.error["code"] == "internal"
    stages["b"].failure = None
    ended = await run(make_job())
    assert ended.images[0].latent_use == "reused"
    assert calls(stages) == [1, 2, 1]


async def test_the_cost_of_a_hand_off_is_shown_also_if_it_leads_to_no_picture(
    run: Run, make_job: JobMaker, stages: dict[str, Decoding], fails: Callable[..., list[str]]
) -> None:
    latent_id = (await run(make_job())).images[0].latent_id
    failed = fails(JobStore, "add_costs", times=3)
    stages["a"].failure = Internal("it failed")
    # Without Stage C: its latent, stored meanwhile, would take the cost along if it came late.
    ended = await run(make_job(kind="vary_details", latent_id=latent_id))
    assert (ended.state, len(failed)) == ("failed", 3)
    assert ended.cost_s == {"c": 0.0, "b": 0.25, "a": 0.0}


class Announcing(Decoding):
    """A stage that tells when it is called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.called = asyncio.Event()

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.called.set()
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


async def test_a_latent_is_stored_beside_the_next_stage_and_before_anything_more_is_told(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Decoding],
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stages["b"] = next_stage = Announcing("b")
    put, reported = BlobStore.put, []

    async def put_late(self: BlobStore, key: str, data: bytes) -> None:
        if key.startswith("latents/"):
            await next_stage.called.wait()
        await put(self, key, data)

    def recording(store: type, method: str) -> None:
        works = getattr(store, method)

        def record(self: Any, *args: Any) -> Any:
            if method == "record_progress":
                reported.extend(f"{method} {step.stage}" for step in args[0])
            else:
                reported.append(method)
            return works(self, *args)

        monkeypatch.setattr(store, method, wraps(works)(record))

    monkeypatch.setattr(BlobStore, "put", put_late)
    recording(ImageStore, "save_latent")
    recording(ImageStore, "save")
    recording(JobStore, "record_progress")
    async with asyncio.timeout(HANG_S), launched(database, database_url, blobs, stages) as workflow:
        assert (await run_to_end(workflow, database, make_job())).state == "succeeded"
    assert [name for name in reported if " " in name] == [f"record_progress {x}" for x in "cba"]
    assert reported.index("save_latent") < reported.index("record_progress b")
    assert reported[-1] == "save"
