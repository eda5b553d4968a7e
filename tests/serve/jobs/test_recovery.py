"""What the process with the lease takes up, and what it leaves to a later release's processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from cascade_core.errors import RecordNewer
from serve.jobs.recovery import (
    ORPHANED_AFTER,
    OVERDUE_AFTER,
    Recovery,
    _of_later_releases,
    adopt_expired,
    end_waits,
    fail_overdue,
    start_orphaned,
)
from serve.release import RELEASE, is_later
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.leases import EXPIRES_AFTER, RENEW_EVERY_S, LeaseStore
from serve.storage.records import NewJob, utc_now
from serve.storage.schema.tables import jobs, leases
from tests.serve.clock import Clock
from tests.serve.null_stages import Stage, bring_to_end, launched
from tests.serve.recorded_jobs import add_newer, start
from tests.serve.storage.job_parts.drafts import DAY, drafted, set_columns
from tests.serve.storage.test_leases import renew_for

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def accepted(
    database: Database, job: NewJob, ago: timedelta = 2 * ORPHANED_AFTER, **values: object
) -> str:
    database.jobs.insert(job)
    change = update(jobs).where(jobs.c.id == job.id)
    with database.writing() as connection:
        connection.execute(change.values(created_at=utc_now() - ago, **values))
    return job.id


def test_an_open_job_is_orphaned_only_after_some_seconds(
    database: Database, make_job: JobMaker
) -> None:
    old = accepted(database, make_job())
    accepted(database, make_job(), ago=timedelta())
    running = accepted(database, make_job())
    start(database, running)
    database.jobs.finish(accepted(database, make_job()), "cancelled")
    assert database.jobs.runnable_ids(ORPHANED_AFTER) == [old, running]


async def test_the_jobs_of_a_later_release_are_left_to_it(
    database: Database, make_job: JobMaker
) -> None:
    releases = (None, "0.0.9", RELEASE, "99.0")
    ids = [accepted(database, make_job(), release=release) for release in releases]
    assert database.jobs.runnable_ids(ORPHANED_AFTER) == ids[:3]
    workflows = [*ids, f"{ids[3]}-0", f"{ids[2]}-1"]
    assert await _of_later_releases(database, workflows) == {ids[3], f"{ids[3]}-0"}


async def test_the_process_with_the_lease_ends_late_jobs_and_starts_orphaned_ones(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    async def start(job_id: str) -> None:
        started.append(job_id)

    async def no_workflows(**_: object) -> list[SimpleNamespace]:
        return []

    no_engine = SimpleNamespace(list_workflows_async=no_workflows)
    monkeypatch.setattr("serve.jobs.recovery.DBOS", no_engine)
    late = accepted(database, make_job(), deadline_at=utc_now() - 2 * OVERDUE_AFTER)
    orphaned = accepted(database, make_job())
    LeaseStore(database).renew("jobs-0")
    recovery = Recovery(LeaseStore(database), "jobs-1", start, lambda *_: None, DAY)
    await recovery._renew()
    await recovery._recover()
    assert (started, database.jobs.open_ids()) == ([], [late, orphaned])
    with database.writing() as connection:  # as if the process that held it were long gone
        connection.execute(update(leases).values(renewed_at=None))
    await recovery._renew()
    await recovery._recover()
    assert (started, database.jobs.open_ids()) == ([orphaned], [orphaned])


async def test_what_a_dead_process_of_a_later_release_left_is_not_adopted(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases, resumed = (RELEASE, "99.0"), []
    pending = [accepted(database, make_job(), release=release) for release in releases]

    async def list_workflows(**_: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(workflow_id=job_id) for job_id in pending]

    async def resume(workflow_id: str) -> None:
        resumed.append(workflow_id)

    engine = SimpleNamespace(list_workflows_async=list_workflows, resume_workflow_async=resume)
    monkeypatch.setattr("serve.jobs.recovery.DBOS", engine)
    leases = LeaseStore(database, clock := Clock())
    leases.renew("jobs-1")
    renew_for(EXPIRES_AFTER.total_seconds() + RENEW_EVERY_S, clock, leases, "jobs-0")
    await adopt_expired(leases, "jobs-0")
    assert resumed == pending[:1]
    renew_for(RENEW_EVERY_S, clock, leases, "jobs-0")
    assert list(leases.expired("jobs-0")) == ["jobs-1"]  # its release still has to find it
    pending.pop()
    await adopt_expired(leases, "jobs-0")
    renew_for(RENEW_EVERY_S, clock, leases, "jobs-0")
    assert not leases.expired("jobs-0")


@pytest.mark.parametrize(("release", "later"), [(None, False), (RELEASE, False), ("99.0", True)])
def test_releases_are_compared_as_versions(release: str | None, later: bool) -> None:
    assert is_later(release) is later


def test_a_job_whose_request_has_fields_of_a_later_release_can_be_read(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    request = job.request.to_dict() | {"added_later": [1]}
    job_id = accepted(database, job, request=request)
    found, shown = database.jobs.open_job(job_id), database.jobs.get(job_id)
    assert found is not None
    assert shown is not None
    assert found.request == shown.request == job.request


def test_jobs_that_only_a_later_release_can_read_are_left_to_it_and_hold_up_no_others(
    database: Database, make_job: JobMaker
) -> None:
    LeaseStore(database).renew("jobs-0")
    newer, late = (accepted(database, make_job()) for _ in range(2))
    drafts = [make_job(stop_after="c") for _ in range(2)]
    newer_draft, draft = (drafted(database, job) for job in drafts)
    for job_id in (newer, late, newer_draft, draft):
        set_columns(database, job_id, deadline_at=utc_now() - 2 * OVERDUE_AFTER)
    for job_id in (newer, newer_draft):
        set_columns(database, job_id, kind="edit", request={"kind": "edit"}, release="99.0")
    ended: list[tuple[str, ...]] = []
    fail_overdue(database, lambda *job: ended.append(job), DAY)
    end_waits(database, lambda *job: ended.append(job))
    assert ended == [("generate", "failed", "deadline_exceeded"), ("generate", "succeeded", "")]
    assert (database.jobs.open_ids(), database.waiting.over_ids()) == ([newer], [newer_draft])


async def test_a_job_that_a_later_release_accepted_is_left_open_for_it(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.jobs.recovery.ORPHANED_AFTER", timedelta())
    stages = {name: Stage(name) for name in ("c", "b", "a")}
    job_id = add_newer(database, make_job(), added_later=[1])
    async with launched(database, database_url, blobs, stages) as workflow:

        async def start(workflow_id: str) -> None:
            await bring_to_end(workflow, database, workflow_id)

        with pytest.raises(RecordNewer):  # as when its executor is resumed under its name
            await start(job_id)
        await start_orphaned(database, start)
        assert (database.jobs.open_ids(), stages["c"].calls) == ([job_id], 0)
        set_columns(database, job_id, release=RELEASE)
        await start_orphaned(database, start)
    ended = database.jobs.get(job_id)
    assert ended is not None
    assert ended.state == "succeeded"
