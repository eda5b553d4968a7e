"""Uploads are read when the encoder has a slot, and encoded once for all images of a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from cascade_core.errors import NotReady
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.autoscaling.demand import Demand
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.storage.blobs.blob_keys import upload_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_queue.deadline_store import UNKNOWN_DEADLINE_S
from serve.storage.records import NewJob
from tests.serve.null_stages import Stage, launched, make_dispatcher, run_to_end

JobMaker = Callable[..., NewJob]
NAMES = ("e", "c", "b", "a")


class Reads:
    """Counts the reads of an upload; the first ``failing`` ones find no store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.failing = 0
        self._get = BlobStore.get
        monkeypatch.setattr(BlobStore, "get", lambda blobs, key: self.get(blobs, key))

    async def get(self, blobs: BlobStore, key: str) -> bytes:
        if key == upload_key("UPLOAD"):
            self.count += 1
            if self.count <= self.failing:
                raise NotReady("it does not answer")
        return await self._get(blobs, key)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def make_upload_job(make_job: JobMaker) -> JobMaker:
    return partial(make_job, kind="image_to_image", image="UPLOAD", strength=0.5)


class CountedQueue(FairQueue):
    """Tells when so many calls have come."""

    def __init__(self, width: int, expected: int) -> None:
        super().__init__(width)
        self._expected = expected
        self.all_came = asyncio.Event()

    @asynccontextmanager
    async def slot(self, user: str, cost: float) -> AsyncIterator[None]:
        self._expected -= 1
        if not self._expected:
            self.all_came.set()
        async with super().slot(user, cost):
            yield


class Held(Stage):
    """Answers when it may."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.is_asked.set()
        await self.may_answer.wait()
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


async def test_images_that_wait_for_the_encoder_hold_no_copy_of_their_upload(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_upload_job: JobMaker,
    reads: Reads,
) -> None:
    await blobs.put(upload_key("UPLOAD"), b"a picture")
    held, queue = Held("e"), CountedQueue(1, expected=8)
    stages = {name: Stage(name) for name in NAMES} | {"e": held}
    queues = {name: FairQueue(1) for name in NAMES} | {"e": queue}
    demand, calls = Demand(STABLE_CASCADE.all_names), make_dispatcher(database, stages, queues)
    async with launched(database, database_url, blobs, stages, demand=demand, calls=calls) as flow:
        running = [
            asyncio.create_task(run_to_end(flow, database, make_upload_job())) for _ in range(8)
        ]
        await queue.all_came.wait()
        await held.is_asked.wait()
        assert (queue.waiting_calls, reads.count) == (7, 1)
        held.may_answer.set()
        ended = await asyncio.gather(*running)
    assert {job.state for job in ended} == {"succeeded"}
    assert held.sources == [b"a picture"] * 8


async def test_an_upload_is_read_until_the_store_answers_and_the_deadline_moves_on(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_upload_job: JobMaker,
    reads: Reads,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await blobs.put(upload_key("UPLOAD"), b"a picture")
    clock = SimpleNamespace(monotonic=lambda: 100.0 * reads.count)
    monkeypatch.setattr("serve.storage.retry.time", clock)
    monkeypatch.setattr("serve.storage.retry.FIRST_PAUSE_S", 0.001)
    reads.failing = 3
    stages = {name: Stage(name) for name in NAMES}
    demand = Demand(STABLE_CASCADE.all_names)
    async with launched(database, database_url, blobs, stages, demand=demand) as workflow:
        ended = await run_to_end(workflow, database, make_upload_job())
    assert (ended.state, reads.count) == ("succeeded", 4)
    assert [stage.calls for stage in stages.values()] == [1, 1, 1, 1]
    assert ended.deadline_at is not None
    allowed_s = (ended.deadline_at - ended.created_at).total_seconds()
    assert allowed_s == pytest.approx(UNKNOWN_DEADLINE_S + 3 * 100, abs=20)


async def test_a_job_whose_upload_was_deleted_says_so(
    database: Database, database_url: str, blobs: BlobStore, make_upload_job: JobMaker
) -> None:
    stages = {name: Stage(name) for name in NAMES}
    demand = Demand(STABLE_CASCADE.all_names)
    async with launched(database, database_url, blobs, stages, demand=demand) as workflow:
        ended = await run_to_end(workflow, database, make_upload_job())
    assert ended.error is not None
    assert (ended.state, ended.error["code"]) == ("failed", "gone")
    assert ended.error["message"] == "this upload was deleted"


async def test_the_images_of_a_job_share_their_encoded_upload(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_upload_job: JobMaker,
) -> None:
    await blobs.put(upload_key("UPLOAD"), b"a picture")
    stages = {name: Stage(name) for name in NAMES}
    job = make_upload_job(n=3)
    other = make_upload_job()
    async with launched(
        database, database_url, blobs, stages, demand=Demand(STABLE_CASCADE.all_names)
    ) as workflow:
        ended = await run_to_end(workflow, database, job)
        assert [stage.calls for stage in stages.values()] == [1, 3, 3, 3]
        await run_to_end(workflow, database, other)
    assert ended.state == "succeeded"
    assert ended.cost_s == {"e": 0.25, "c": 0.75, "b": 0.75, "a": 0.75}
    assert stages["e"].sources == [b"a picture", b"a picture"]
    assert set(stages["c"].sources) == {b"bytes"}


class Failing(Stage):
    """Is cut off in its first call, as if its process were killed."""

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        if not self.calls:
            self.calls += 1
            raise RuntimeError("no answer")
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


async def test_an_image_for_which_encoding_failed_takes_no_other_along(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_upload_job: JobMaker,
) -> None:
    await blobs.put(upload_key("UPLOAD"), b"a picture")
    stages = {name: Stage(name) for name in NAMES} | {"e": Failing("e")}
    job = make_upload_job(n=3)
    async with launched(
        database, database_url, blobs, stages, demand=Demand(STABLE_CASCADE.all_names)
    ) as workflow:
        ended = await run_to_end(workflow, database, job)
    assert ended.state == "failed"
    assert stages["e"].calls == 2
    assert [image.ready for image in ended.images].count(True) == 2


async def test_images_that_wait_for_the_encoded_upload_of_a_cancelled_job_begin_nothing(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_upload_job: JobMaker,
) -> None:
    await blobs.put(upload_key("UPLOAD"), b"a picture")
    held = Held("e")
    stages = {name: Stage(name) for name in NAMES} | {"e": held}
    job = make_upload_job(n=3)
    async with launched(
        database, database_url, blobs, stages, demand=Demand(STABLE_CASCADE.all_names)
    ) as workflow:
        running = asyncio.create_task(run_to_end(workflow, database, job))
        await held.is_asked.wait()
        held.is_asked.clear()
        database.jobs.finish(job.id, "cancelled")
        workflow.cancel(job.id)
        ended = await running
    assert ended.state == "cancelled"
    assert not held.is_asked.is_set()
    assert [stage.calls for stage in stages.values()] == [0, 0, 0, 0]
