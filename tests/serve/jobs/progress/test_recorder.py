"""What stages report is recorded for all jobs together, in order, and never waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest

from cascade_core.errors import NotReady
from serve.jobs.progress.recorder import ProgressRecorder
from serve.messages import StageMessage
from serve.storage.blobs.blob_keys import preview_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_store import JobStore, update_open
from serve.storage.records import Job, NewJob
from serve.storage.retry import RetryingBlobs, RetryingDatabase
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import PREVIEW
from tests.serve.recorded_jobs import add
from tests.serve.waiting import until

JobMaker = Callable[..., NewJob]
STARTED = StageMessage(type="started")


@pytest.fixture
def recorder(database: Database, blobs: BlobStore) -> ProgressRecorder:
    return ProgressRecorder(RetryingDatabase(database), RetryingBlobs(blobs))


@pytest.fixture
def postgresql(new_database_url: Callable[[str], str]) -> Iterator[Database]:
    """Here transactions lock single rows; SQLite has one writer at a time."""
    database = Database(new_database_url("postgresql"))
    yield database
    database.close()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The steps of each transaction."""
    record, seen = JobStore.record_progress, []

    @wraps(record)
    def note(store: JobStore, steps: Any, *others: Any) -> Any:
        seen.append([step.step for step in steps])
        return record(store, steps, *others)

    monkeypatch.setattr(JobStore, "record_progress", note)
    return seen


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set: the database records progress; until then it hangs."""
    record, gate = JobStore.record_progress, threading.Event()

    @wraps(record)
    def wait(*args: Any) -> Any:
        assert gate.wait(HANG_S)
        return record(*args)

    monkeypatch.setattr(JobStore, "record_progress", wait)
    yield gate
    gate.set()


def step(number: int, preview: bytes | None = None) -> StageMessage:
    return StageMessage(type="step", step=number, steps=20, preview=preview)


async def switch_tasks() -> None:
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


def told(database: Database, job_id: str) -> list[tuple[str, int, bool]]:
    return [
        (event.data["stage"], event.data["step"], "preview" in event.data)
        for event in database.events.of_job(job_id)
        if event.type == "progress"
    ]


def load(database: Database, job_id: str) -> Job:
    job = database.jobs.get(job_id)
    assert job is not None
    return job


async def test_a_message_is_taken_while_the_database_hangs(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker, gate: threading.Event
) -> None:
    job_id = add(database, make_job())
    for message in (STARTED, step(1, PREVIEW), step(2)):
        recorder.tell(job_id, 0, "c", message)
    assert load(database, job_id).state == "queued"
    gate.set()
    await recorder.settle(job_id, 0)
    assert load(database, job_id).state == "running"
    assert told(database, job_id) == [("c", 1, True), ("c", 2, False)]


async def test_what_is_told_is_recorded_without_being_asked_for(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker
) -> None:
    job_id = add(database, make_job())
    recorder.tell(job_id, 0, "c", STARTED)
    await until(lambda: load(database, job_id).state == "running")
    recorder.tell(job_id, 0, "c", step(1))
    await until(lambda: told(database, job_id) == [("c", 1, False)])


async def test_what_many_jobs_report_meanwhile_is_one_transaction(
    database: Database,
    recorder: ProgressRecorder,
    make_job: JobMaker,
    batches: list[list[int]],
    gate: threading.Event,
) -> None:
    ids = [add(database, make_job()) for _ in range(4)]
    recorder.tell(ids[0], 0, "c", step(1))
    first = asyncio.create_task(recorder.settle(ids[0], 0))
    await asyncio.sleep(0)  # its transaction begins
    for number, job_id in enumerate(ids, 2):
        recorder.tell(job_id, 0, "c", step(number))
    gate.set()
    await first
    await asyncio.gather(*(recorder.settle(job_id, 0) for job_id in ids))
    assert batches == [[1], [2, 3, 4, 5]]


async def test_a_step_that_is_not_recorded_yet_gives_way_to_the_next_one_but_no_preview_does(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker
) -> None:
    job_id = add(database, make_job())
    for message in (step(1), step(2), step(3, PREVIEW), step(4), step(5)):
        recorder.tell(job_id, 0, "c", message)
    recorder.tell(job_id, 0, "b", step(1))
    await recorder.settle(job_id, 0)
    assert told(database, job_id) == [("c", 3, True), ("c", 5, False), ("b", 1, False)]


async def test_a_step_is_recorded_once_the_outputs_before_are_and_its_preview_is_stored(
    database: Database,
    blobs: BlobStore,
    recorder: ProgressRecorder,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id, other_id = add(database, make_job()), add(database, make_job())
    put, may_put, may_write = BlobStore.put, asyncio.Event(), asyncio.Event()

    async def put_late(store: BlobStore, key: str, data: bytes) -> None:
        await may_put.wait()
        await put(store, key, data)

    async def write_late() -> None:
        await may_write.wait()

    monkeypatch.setattr(BlobStore, "put", put_late)
    recorder.tell(job_id, 0, "c", step(19, PREVIEW))
    recorder.tell(job_id, 0, "b", step(1), [asyncio.create_task(write_late())])
    settling = asyncio.create_task(recorder.settle(job_id, 0))
    recorder.tell(other_id, 0, "c", step(1))
    await recorder.settle(other_id, 0)
    assert told(database, job_id) == []
    may_put.set()
    await until(lambda: told(database, job_id) == [("c", 19, True)])
    assert await blobs.get(preview_key(job_id, 0, "c", 19)) == PREVIEW
    may_write.set()
    await settling
    assert told(database, job_id) == [("c", 19, True), ("b", 1, False)]


async def test_images_of_a_job_do_not_wait_for_each_other(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker
) -> None:
    job_id, never = add(database, make_job(n=2)), asyncio.Event()
    stuck = asyncio.create_task(never.wait())
    recorder.tell(job_id, 0, "b", step(1), [stuck])  # type: ignore[list-item]
    recorder.tell(job_id, 1, "c", step(2))
    async with asyncio.timeout(HANG_S):
        await recorder.settle(job_id, 1)
    assert told(database, job_id) == [("c", 2, False)]
    stuck.cancel()


async def test_a_job_starts_once_however_many_stages_begin(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker, batches: list[list[int]]
) -> None:
    job_id = add(database, make_job(n=2))
    for index, stage in ((0, "c"), (1, "c"), (0, "b"), (1, "a")):
        recorder.tell(job_id, index, stage, STARTED)
        await recorder.settle(job_id, index)
    assert batches == [[]]
    recorder.forget(job_id)
    recorder.tell(job_id, 0, "c", STARTED)  # in a process that takes the job up again
    await recorder.settle(job_id, 0)
    assert len(batches) == 2


async def test_an_outage_loses_steps_and_the_next_stage_starts_the_job(
    database: Database,
    recorder: ProgressRecorder,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise NotReady("it does not answer")

    job_id = add(database, make_job())
    with monkeypatch.context() as outage:
        outage.setattr(JobStore, "record_progress", fail)
        recorder.tell(job_id, 0, "c", STARTED)
        recorder.tell(job_id, 0, "c", step(1))
        await recorder.settle(job_id, 0)
    recorder.tell(job_id, 0, "b", STARTED)
    recorder.tell(job_id, 0, "b", step(2))
    await recorder.settle(job_id, 0)
    assert load(database, job_id).state == "running"
    assert told(database, job_id) == [("b", 2, False)]


async def test_an_unexpected_failure_keeps_no_job_from_running_and_no_later_step_from_being_told(
    database: Database,
    recorder: ProgressRecorder,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a fault")

    job_id = add(database, make_job())
    with monkeypatch.context() as fault:
        fault.setattr(JobStore, "record_progress", fail)
        recorder.tell(job_id, 0, "c", STARTED)
        recorder.tell(job_id, 0, "c", step(1))
        await recorder.settle(job_id, 0)
    recorder.tell(job_id, 0, "b", STARTED)
    recorder.tell(job_id, 0, "b", step(2))
    await until(lambda: told(database, job_id) == [("b", 2, False)])
    assert load(database, job_id).state == "running"


async def test_a_job_whose_row_is_locked_holds_up_no_other_job_and_loses_nothing(
    postgresql: Database, blobs: BlobStore, make_job: JobMaker
) -> None:
    database = postgresql
    recorder = ProgressRecorder(RetryingDatabase(database), RetryingBlobs(blobs))
    locked_id, other_id = add(database, make_job()), add(database, make_job())
    async with asyncio.timeout(HANG_S):
        with database.writing() as connection:
            assert update_open(connection, locked_id, {})
            for job_id in (locked_id, other_id):
                recorder.tell(job_id, 0, "c", STARTED)
            for number in (1, 2, 3):
                recorder.tell(locked_id, 0, "c", step(number, PREVIEW))
                recorder.tell(locked_id, 0, "c", StageMessage(type="warning", text="too long"))
                recorder.tell(other_id, 0, "c", step(number))
                await recorder.settle(other_id, 0)
            await recorder.end(other_id)
            assert load(database, other_id).state == "running"
            assert told(database, other_id) == [("c", 1, False), ("c", 2, False), ("c", 3, False)]
            assert load(database, locked_id).state == "queued"
            ending = asyncio.create_task(recorder.end(locked_id))
            await recorder.settle(other_id, 0)
            assert not ending.done()
        await ending
    locked = load(database, locked_id)
    assert (locked.state, locked.warnings) == ("running", ("too long",))
    assert told(database, locked_id) == [("c", 1, True), ("c", 2, True), ("c", 3, True)]


async def test_what_a_locked_job_has_told_is_recorded_later_without_being_asked_for(
    postgresql: Database, blobs: BlobStore, make_job: JobMaker, gate: threading.Event
) -> None:
    recorder = ProgressRecorder(RetryingDatabase(postgresql), RetryingBlobs(blobs))
    locked_id, other_id = add(postgresql, make_job()), add(postgresql, make_job())
    with postgresql.writing() as connection:
        assert update_open(connection, locked_id, {})

        async def tell_and_settle() -> None:  # so that the regular writer finds nothing to take
            recorder.tell(locked_id, 0, "c", step(1))
            recorder.tell(other_id, 0, "c", step(1))
            await recorder.settle(other_id, 0)

        settling = asyncio.create_task(tell_and_settle())
        await until(lambda: recorder._writer is not None and not recorder._reports)
        await switch_tasks()
        gate.set()
        await settling
    await until(lambda: told(postgresql, locked_id) == [("c", 1, False)])


async def test_a_job_ends_only_after_a_transaction_that_holds_its_steps(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker, gate: threading.Event
) -> None:
    job_id = add(database, make_job())
    recorder.tell(job_id, 0, "c", step(1))
    await until(lambda: not recorder._reports)
    ending = asyncio.create_task(recorder.end(job_id))
    await switch_tasks()
    assert not ending.done()
    gate.set()
    await ending
    assert told(database, job_id) == [("c", 1, False)]


async def test_after_a_job_was_cancelled_nothing_is_told_and_it_stays_cancelled(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker
) -> None:
    job_id, other_id = add(database, make_job()), add(database, make_job())
    recorder.tell(job_id, 0, "c", STARTED)
    recorder.tell(job_id, 0, "c", step(1))
    recorder.tell(other_id, 0, "c", step(1))
    database.jobs.finish(job_id, "cancelled")
    await recorder.end(job_id)
    await recorder.settle(other_id, 0)
    assert [event.type for event in database.events.of_job(job_id)] == ["queued", "cancelled"]
    assert load(database, job_id).state == "cancelled"
    assert told(database, other_id) == [("c", 1, False)]


async def test_a_job_that_ends_at_once_has_started_and_keeps_its_warnings(
    database: Database, recorder: ProgressRecorder, make_job: JobMaker
) -> None:
    job_id = add(database, make_job(n=2))
    recorder.tell(job_id, 1, "c", STARTED)
    recorder.tell(job_id, 1, "c", StageMessage(type="warning", text="too long"))
    await recorder.end(job_id)
    job = load(database, job_id)
    assert (job.state, job.warnings) == ("running", ("too long",))
