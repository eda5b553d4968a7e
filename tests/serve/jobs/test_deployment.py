"""The Jobs deployment accepts jobs and drains, also while what it needs does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, text

from cascade_core.errors import NotReady
from serve.gateway.events.event_hub import EventHub
from serve.jobs.deployment import Jobs
from serve.jobs.event_notifier import EventNotifier
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.jobs.recovery import start_orphaned
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.events import append_event
from serve.storage.job_store import JobStore
from serve.storage.records import NewJob
from serve.storage.retry import RetryingDatabase
from tests.limits import HANG_S
from tests.serve.null_stages import Stage, launched
from tests.serve.recorded_jobs import record_step, start
from tests.serve.served import served
from tests.serve.waiting import until


async def test_a_job_that_the_engine_cannot_start_is_accepted_and_started_later(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: Callable[..., NewJob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.jobs.recovery.ORPHANED_AFTER", timedelta())
    job, stages = make_job(), {name: Stage(name) for name in ("c", "b", "a")}
    async with launched(database, database_url, blobs, stages) as workflow:
        jobs = object.__new__(Jobs)  # its constructor needs a replica of Ray Serve
        jobs._services = SimpleNamespace(workflow=workflow, watched_jobs=WatchedJobs())
        jobs._database, jobs._limits = database, None
        jobs._accepting = ThreadPoolExecutor(1)
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE workflow_status RENAME TO away"))
        assert await jobs._accept(job, is_watched=True) == job.id
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO workflow_status"))
        async with asyncio.timeout(HANG_S):
            await start_orphaned(database, jobs._start)
            await EventHub(database).wait_until_ended(job.id, HANG_S)
        engine.dispose()
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert ended.state == "succeeded"


@pytest.fixture
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(getattr(request, "param", "sqlite"))


@pytest.fixture
def draining(database: Database) -> Jobs:
    jobs = object.__new__(Jobs)  # its constructor needs a replica of Ray Serve
    jobs._services = SimpleNamespace(database=RetryingDatabase(database))
    return jobs


async def test_draining_waits_for_open_jobs_while_the_database_does_not_answer(
    database: Database,
    draining: Jobs,
    make_job: Callable[..., NewJob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.storage.retry.FIRST_PAUSE_S", 0.001)
    job, looks, open_ids = make_job(), 0, JobStore.open_ids
    database.jobs.insert(job)

    def look(store: JobStore) -> list[str]:
        nonlocal looks
        looks += 1
        if looks in (1, 3):
            raise NotReady("it does not answer")
        if looks == 4:
            database.jobs.finish(job.id, "succeeded")
        return open_ids(store)

    monkeypatch.setattr(JobStore, "open_ids", look)
    async with asyncio.timeout(HANG_S):
        assert await draining.drain(HANG_S) == 0
    assert looks == 4


async def test_draining_ends_where_the_database_stays_away(
    draining: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_store: JobStore) -> list[str]:
        raise NotReady("it does not answer")

    monkeypatch.setattr("serve.storage.retry.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("serve.jobs.deployment.DRAIN_ANSWER_S", 0.01)
    monkeypatch.setattr(JobStore, "open_ids", fail)
    async with asyncio.timeout(HANG_S):
        with pytest.raises(NotReady, match="which jobs are open"):
            await draining.drain(0)


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_draining_tells_how_many_jobs_are_open_when_its_time_is_over(
    database: Database, draining: Jobs, make_job: Callable[..., NewJob]
) -> None:
    database.jobs.insert(make_job())
    database.jobs.insert(make_job())
    assert await draining.drain(0) == 2


async def test_a_cancelled_job_is_counted_once_whether_it_waits_or_runs(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    jobs, counted = object.__new__(Jobs), []  # its constructor needs a replica of Ray Serve
    metrics = SimpleNamespace(ended=lambda *job: counted.append(job))
    workflow = SimpleNamespace(cancel=lambda _job_id: None)
    jobs._services = SimpleNamespace(metrics=metrics, workflow=workflow)
    jobs._database = database
    waiting, running = make_job(stop_after="c"), make_job(kind="vary", strength=0.5, latent_id="L")
    for job in (waiting, running):
        database.jobs.insert(job)
        start(database, job.id)
    assert database.waiting.begin(waiting.id, timedelta(hours=1))
    for job in (waiting, running):
        assert [await jobs.cancel(job.id) for _ in "ab"] == [True, False]
    assert counted == [("generate", "cancelled", ""), ("vary", "cancelled", "")]


async def test_a_job_of_a_gateway_that_does_not_say_whether_it_is_watched_has_previews(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    jobs, given = object.__new__(Jobs), make_job()  # its constructor needs a replica of Ray Serve
    watched_jobs, started = WatchedJobs(), []

    async def start(job_id: str) -> None:
        started.append(job_id)

    jobs._services, jobs._models = SimpleNamespace(watched_jobs=watched_jobs), served(given.family)
    jobs._database, jobs._limits, jobs._is_draining = database, None, False
    jobs._accepting, jobs._start = ThreadPoolExecutor(1), start
    request = given.request.to_dict()
    # In the order of the gateways before `is_watched`: both run during a rolling update.
    job_id = await jobs.submit(request, None, given.owner, given.identity, given.context)
    assert started == [job_id]
    assert watched_jobs.is_watched(job_id)


class Told:
    """Gateways that are told of events; each call lasts until the test ends it."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.begun = asyncio.Event()
        self.may_end: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def notify_of_events(self, job_ids: list[str]) -> None:
        self.calls.append(job_ids)
        self.begun.set()
        error = await self.may_end.get()
        if error is not None:
            raise error

    async def next_call(self) -> list[str]:
        async with asyncio.timeout(HANG_S):
            await self.begun.wait()
        self.begun.clear()
        return self.calls[-1]


async def test_jobs_that_change_during_a_call_to_the_gateways_are_in_the_next_call() -> None:
    told = Told()
    notifier = EventNotifier(told.notify_of_events, WatchedJobs(), pause_s=0.0)
    notifier.notify({("a", "image")})
    assert await told.next_call() == ["a"]
    for job_id in ("c", "b", "c", "a"):
        await asyncio.to_thread(
            notifier.notify, {(job_id, "progress")}
        )  # as transactions do, in their threads
    told.may_end.put_nowait(None)
    assert await told.next_call() == ["a", "b", "c"]
    told.may_end.put_nowait(None)
    await until(lambda: notifier._calls._calling is None)
    notifier.notify({("d", "image")})
    assert await told.next_call() == ["d"]
    assert len(told.calls) == 3
    told.may_end.put_nowait(None)
    await until(lambda: notifier._calls._calling is None)


async def test_gateways_are_told_of_no_step_of_an_unwatched_job() -> None:
    calls: list[list[str]] = []

    async def tell(job_ids: list[str]) -> None:
        calls.append(job_ids)

    watched_jobs = WatchedJobs()
    watched_jobs.exclude("a")
    notifier = EventNotifier(tell, watched_jobs, pause_s=0.0)
    for _ in range(100):
        notifier.notify({("a", "progress")})
        await asyncio.sleep(0)
    notifier.notify({("a", "progress"), ("a", "image")})
    await until(lambda: bool(calls) and notifier._calls._calling is None)
    assert calls == [["a"]]
    watched_jobs.watch("a")
    notifier.notify({("a", "progress")})
    await until(lambda: len(calls) == 2)


def test_a_transaction_that_ends_after_the_event_loop_has_no_error() -> None:
    told = Told()

    async def make() -> EventNotifier:
        return EventNotifier(told.notify_of_events, WatchedJobs())

    notifier = asyncio.run(make())
    notifier.notify({("a", "image")})
    assert told.calls == []


def test_gateways_are_told_of_what_is_committed_and_of_nothing_else(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    told: list[set[tuple[str, str]]] = []
    database.on_events = told.append
    job = make_job()
    database.jobs.insert(job)
    assert told == [], "a job is followed only once it is accepted"
    start(database, job.id)
    assert told == []
    record_step(database, job.id, "c", 1, 2, 0)
    database.images.save(job.images[0].id, 1, "a")
    database.jobs.finish(job.id, "succeeded")
    assert told == [{(job.id, type_)} for type_ in ("progress", "image", "succeeded")]
    assert not database.jobs.finish(job.id, "cancelled")

    def fail() -> None:
        with database.writing() as connection:
            append_event(connection, job.id, "progress", {"step": 1})
            raise NotReady("this transaction is not committed")

    with pytest.raises(NotReady):
        fail()
    assert told == [{(job.id, type_)} for type_ in ("progress", "image", "succeeded")]
