"""What the process with the lease takes up, and what it leaves to a later release's processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from serve.db import Database
from serve.records import NewJob, utc_now
from serve.release import RELEASE, is_later
from serve.rescue import STRANDED_AFTER, _of_later_releases, _stranded_candidates
from serve.tables import jobs

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def accepted(
    database: Database, job: NewJob, ago: timedelta = 2 * STRANDED_AFTER, **values: object
) -> str:
    database.insert_job(job)
    change = update(jobs).where(jobs.c.id == job.id)
    with database.writing() as connection:
        connection.execute(change.values(created_at=utc_now() - ago, **values))
    return job.id


def test_an_open_job_is_stranded_only_after_some_seconds(
    database: Database, make_job: JobMaker
) -> None:
    old = accepted(database, make_job())
    accepted(database, make_job(), ago=timedelta())
    running = accepted(database, make_job())
    database.start_job(running)
    database.finish_job(accepted(database, make_job()), "cancelled")
    assert _stranded_candidates(database) == [old, running]


def test_the_jobs_of_a_later_release_are_left_to_it(database: Database, make_job: JobMaker) -> None:
    releases = (None, "0.0.9", RELEASE, "99.0")
    ids = [accepted(database, make_job(), release=release) for release in releases]
    assert _stranded_candidates(database) == ids[:3]
    workflows = [*ids, f"{ids[3]}-0", f"{ids[2]}-1"]
    assert _of_later_releases(database, workflows) == {ids[3], f"{ids[3]}-0"}


@pytest.mark.parametrize(("release", "later"), [(None, False), (RELEASE, False), ("99.0", True)])
def test_releases_are_compared_as_versions(release: str | None, later: bool) -> None:
    assert is_later(release) is later


def test_a_job_whose_request_has_fields_of_a_later_release_can_be_read(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    request = job.request.to_dict() | {"added_later": [1]}
    job_id = accepted(database, job, request=request)
    found, shown = database.open_job(job_id), database.job(job_id)
    assert found is not None
    assert shown is not None
    assert found.request == shown.request == job.request
