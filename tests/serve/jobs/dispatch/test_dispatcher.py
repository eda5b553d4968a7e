"""Jobs that cannot be done, or not in time, end with a reason; on stages that answer from here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from dbos import DBOS, SetWorkflowID
from sqlalchemy import update

from cascade_core.errors import CascadeError, OutOfMemory, StageLost
from serve.jobs.dispatch.dispatcher import Dispatcher
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.jobs.workflow import JobWorkflow
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import Job, NewJob, utc_now
from serve.storage.schema.tables import jobs
from tests.serve.null_stages import Stage, launched, make_dispatcher

JobMaker = Callable[..., NewJob]
SOON = timedelta(seconds=0.2)
HOUR = timedelta(hours=1)


class FaultyStage(Stage):
    """Answers at once, fails, or works until it is cancelled."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.fails: CascadeError | None = None
        self.is_slow = False
        self.working, self.cancelled = asyncio.Event(), asyncio.Event()
        self.crashes: list[int] = []

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        result = await super().call(*args, on_message=on_message, on_crash=on_crash)
        self.working.set()
        if isinstance(self.fails, StageLost):
            self.crashes.append(await on_crash())
        if self.fails is not None:
            raise self.fails
        try:
            if self.is_slow:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return result


Stages = dict[str, FaultyStage]


@pytest.fixture
def stages() -> Stages:
    return {name: FaultyStage(name) for name in ("c", "b", "a")}


@pytest.fixture
def queues() -> dict[str, FairQueue]:
    return {name: FairQueue(1) for name in ("c", "b", "a")}


@pytest.fixture
def calls(database: Database, stages: Stages, queues: dict[str, FairQueue]) -> Dispatcher:
    return make_dispatcher(database, stages, queues)


@pytest_asyncio.fixture
async def workflow(
    database: Database, database_url: str, blobs: BlobStore, stages: Stages, calls: Dispatcher
) -> AsyncIterator[JobWorkflow]:
    async with launched(database, database_url, blobs, stages, calls=calls) as workflow:
        yield workflow


@dataclass
class Runner:
    """Accepts jobs and brings them to their end."""

    database: Database
    workflow: JobWorkflow

    async def start(self, job: NewJob, allowed: timedelta = HOUR) -> Any:
        self.database.jobs.insert(job)
        mine = update(jobs).where(jobs.c.id == job.id)
        with self.database.writing() as connection:
            connection.execute(mine.values(deadline_at=utc_now() + allowed))
        with SetWorkflowID(job.id):
            return await DBOS.start_workflow_async(self.workflow.run, job.id)

    async def end(self, job: NewJob, allowed: timedelta = HOUR) -> Job:
        await (await self.start(job, allowed)).get_result()
        return self.job(job)

    def job(self, job: NewJob) -> Job:
        found = self.database.jobs.get(job.id)
        assert found is not None
        return found


@pytest.fixture
def runner(database: Database, workflow: JobWorkflow) -> Runner:
    return Runner(database, workflow)


def code(job: Job) -> str:
    return str((job.error or {}).get("code", job.state))


async def test_a_job_that_runs_into_its_deadline_fails_and_frees_its_replica(
    runner: Runner, make_job: JobMaker, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines: list[asyncio.Timeout] = []

    def far_away(_left_s: float | None) -> asyncio.Timeout:
        deadlines.append(asyncio.timeout(None))
        return deadlines[-1]

    monkeypatch.setattr("serve.jobs.deadline_timeout.asyncio", SimpleNamespace(timeout=far_away))
    stages["b"].is_slow = True
    ending = asyncio.create_task(runner.end(make_job()))
    await stages["b"].working.wait()
    deadlines[-1].reschedule(0.0)
    ended = await ending
    assert (ended.state, code(ended)) == ("failed", "deadline_exceeded")
    assert stages["b"].cancelled.is_set()
    assert stages["a"].calls == 0


async def test_all_images_of_a_job_end_at_its_deadline(
    runner: Runner, make_job: JobMaker, stages: Stages
) -> None:
    stages["b"].is_slow = True
    ended = await runner.end(make_job(n=2), SOON)
    assert code(ended) == "deadline_exceeded"


async def test_a_job_without_a_slot_in_time_fails_without_a_call(
    runner: Runner, make_job: JobMaker, stages: Stages, queues: dict[str, FairQueue]
) -> None:
    async with queues["c"].slot("another", 1.0):
        ended = await runner.end(make_job(), SOON)
        assert code(ended) == "deadline_exceeded"
    assert stages["c"].calls == 0
    assert (await runner.end(make_job())).state == "succeeded"  # its slot was given back


async def test_a_job_taken_up_after_its_deadline_fails_at_once(
    runner: Runner, make_job: JobMaker, stages: Stages
) -> None:
    assert code(await runner.end(make_job(), -SOON)) == "deadline_exceeded"
    assert stages["c"].calls == 0


async def test_a_size_too_large_for_the_replicas_fails_with_a_reason_and_the_next_without_a_call(
    runner: Runner, make_job: JobMaker, stages: Stages
) -> None:
    assert (await runner.end(make_job())).state == "succeeded"
    stages["b"].fails = OutOfMemory("no room")
    first = await runner.end(make_job(width=1024, height=1024))
    calls = stages["b"].calls
    second = await runner.end(make_job(width=1024, height=1280))
    for job in (first, second):
        assert code(job) == "cannot_be_served"
        assert "stage B" in str(job.error)
        assert "256x256" in str(job.error)
    assert stages["b"].calls == calls
    stages["b"].fails = None
    assert (await runner.end(make_job(width=512, height=512))).state == "succeeded"


async def test_jobs_of_a_stage_that_does_not_start_fail_those_under_way_too(
    runner: Runner, make_job: JobMaker, stages: Stages, calls: Dispatcher
) -> None:
    stages["b"].is_slow = True
    under_way, waiting = make_job(), make_job()
    handles = [await runner.start(job) for job in (under_way, waiting)]
    await stages["b"].working.wait()
    calls.set_outages({"b"})
    for handle in handles:
        await handle.get_result()
    later = await runner.end(make_job())
    for job in (runner.job(under_way), runner.job(waiting), later):
        assert code(job) == "cannot_be_served"
        assert "stage B" in str(job.error)
    assert stages["b"].calls == 1


async def test_a_stage_that_starts_again_serves_again(
    runner: Runner, make_job: JobMaker, calls: Dispatcher
) -> None:
    calls.set_outages({"c"})
    assert code(await runner.end(make_job())) == "cannot_be_served"
    calls.set_outages(set())
    assert (await runner.end(make_job())).state == "succeeded"


async def test_a_job_cancelled_during_an_outage_is_cancelled(
    runner: Runner, make_job: JobMaker, stages: Stages, calls: Dispatcher, database: Database
) -> None:
    stages["c"].is_slow = True
    job = make_job()
    handle = await runner.start(job)
    await stages["c"].working.wait()
    assert database.jobs.finish(job.id, "cancelled")
    calls.set_outages({"c"})
    await handle.get_result()
    assert runner.job(job).state == "cancelled"


async def test_deaths_of_replicas_are_noted_with_the_job(
    runner: Runner, make_job: JobMaker, stages: Stages, database: Database
) -> None:
    stages["b"].fails = StageLost("the replica died")
    job = make_job()
    assert code(await runner.end(job)) == "stage_lost"
    assert stages["b"].crashes == [1]
    assert database.jobs.count_crash(job.id, "b0") == 2


async def test_a_job_that_replicas_died_of_takes_no_more_along_by_its_other_images(
    runner: Runner, make_job: JobMaker, stages: Stages
) -> None:
    stages["b"].fails = StageLost("the replica died")
    assert code(await runner.end(make_job(n=4))) == "stage_lost"
    assert stages["b"].calls == 1
