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
from serve.gateway.event_hub import EventHub
from serve.jobs.deployment import Jobs
from serve.jobs.recovery import start_orphaned
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_store import JobStore
from serve.storage.records import NewJob
from serve.storage.retry import RetryingDatabase
from tests.limits import HANG_S
from tests.serve.null_stages import Stage, launched


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
        jobs._services = SimpleNamespace(workflow=workflow)
        jobs._database, jobs._limits = database, None
        jobs._accepting = ThreadPoolExecutor(1)
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE workflow_status RENAME TO away"))
        assert await jobs._accept(job) == job.id
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


async def test_draining_tells_how_many_jobs_are_open_when_its_time_is_over(
    database: Database, draining: Jobs, make_job: Callable[..., NewJob]
) -> None:
    database.jobs.insert(make_job())
    database.jobs.insert(make_job())
    assert await draining.drain(0) == 2
