"""Previews are drawn for the jobs that clients watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from cascade_core.errors import RateLimited
from serve.jobs.deployment import Jobs
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_store import JobStore
from serve.storage.records import NewJob
from tests.serve.null_stages import Stage, launched, run_to_end

JobMaker = Callable[..., NewJob]


class Told(Stage):
    """A stage that notes whether it is to draw previews; a test may watch the job meanwhile."""

    def __init__(self, name: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__(name)
        self.is_watched: list[bool] = []
        self._meanwhile = meanwhile

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.is_watched.append(args[3])
        self._meanwhile()
        return await super().call(*args, on_message=on_message, on_crash=on_crash)


async def test_previews_begin_with_the_next_stage_after_a_client_has_begun_to_watch(
    database: Database, database_url: str, blobs: BlobStore, make_job: JobMaker
) -> None:
    job, watched_jobs = make_job(), WatchedJobs()
    stages = {
        "c": Told("c", lambda: watched_jobs.watch(job.id)),
        "b": Told("b"),
        "a": Told("a"),
    }
    watched_jobs.exclude(job.id)
    launch = launched(database, database_url, blobs, stages, watched_jobs=watched_jobs)
    async with launch as workflow:
        await run_to_end(workflow, database, job)
        await run_to_end(workflow, database, make_job(seed=8))
    assert [stage.is_watched for stage in stages.values()] == [[False, True]] + [[True, True]] * 2


async def test_a_job_that_has_ended_is_forgotten(
    database: Database, database_url: str, blobs: BlobStore, make_job: JobMaker
) -> None:
    job, watched_jobs = make_job(n=2), WatchedJobs()
    stages = {name: Told(name) for name in ("c", "b", "a")}
    watched_jobs.exclude(job.id)
    launch = launched(database, database_url, blobs, stages, watched_jobs=watched_jobs)
    async with launch as workflow:
        await run_to_end(workflow, database, job)
    assert [stage.is_watched for stage in stages.values()] == [[False, False]] * 3
    assert watched_jobs.is_watched(job.id)


class Accepting:
    """Jobs, as far as it accepts jobs; they are started in name only."""

    def __init__(self, database: Database) -> None:
        self.watched_jobs = WatchedJobs()
        self.jobs = object.__new__(Jobs)  # its constructor needs a replica of Ray Serve
        self.jobs._services = SimpleNamespace(watched_jobs=self.watched_jobs)
        self.jobs._database, self.jobs._limits = database, None
        self.jobs._accepting = ThreadPoolExecutor(1)
        self.jobs._start = self._start

    async def _start(self, job_id: str) -> None:
        await asyncio.sleep(0)


async def test_a_job_whose_client_only_waits_is_unwatched_until_a_client_watches_it(
    database: Database, make_job: JobMaker
) -> None:
    accepting, waiting, followed = Accepting(database), make_job(), make_job()
    await accepting.jobs._accept(waiting, is_watched=False)
    await accepting.jobs._accept(followed, is_watched=True)
    assert not accepting.watched_jobs.is_watched(waiting.id)
    assert accepting.watched_jobs.is_watched(followed.id)
    accepting.jobs.watch([waiting.id, "of another replica"])
    assert accepting.watched_jobs.is_watched(waiting.id)


async def test_a_request_that_is_sent_again_watches_its_job_only_if_it_says_so(
    database: Database, make_job: JobMaker
) -> None:
    accepting, waiting, followed = Accepting(database), make_job(), make_job()
    await accepting.jobs._accept(waiting, is_watched=False)
    await accepting.jobs._accept(followed, is_watched=True)
    for job in (waiting, followed):
        assert await accepting.jobs._accept(job, is_watched=False) == job.id
    assert not accepting.watched_jobs.is_watched(waiting.id)
    assert accepting.watched_jobs.is_watched(followed.id)
    assert await accepting.jobs._accept(waiting, is_watched=True) == waiting.id
    assert accepting.watched_jobs.is_watched(waiting.id)


async def test_a_job_that_is_watched_while_it_is_recorded_is_watched(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting, job, insert = Accepting(database), make_job(), JobStore.insert

    def insert_and_watch(*args: Any) -> Any:
        earlier_id = insert(*args)
        accepting.jobs.watch([job.id])
        return earlier_id

    monkeypatch.setattr(JobStore, "insert", insert_and_watch)
    await accepting.jobs._accept(job, is_watched=False)
    assert accepting.watched_jobs.is_watched(job.id)


async def test_a_job_that_was_not_accepted_leaves_nothing_behind(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RateLimited("too many jobs are open")

    accepting, job = Accepting(database), make_job()
    monkeypatch.setattr(JobStore, "insert", refuse)
    with pytest.raises(RateLimited):
        await accepting.jobs._accept(job, is_watched=False)
    assert accepting.watched_jobs.is_watched(job.id)
