"""What the service does now and has done lately, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from cascade_core.errors import DeadlineExceeded, OutOfMemory
from serve.storage.database import Database
from serve.storage.job_queue.activity import Activity, StageWork
from serve.storage.records import NewJob, utc_now
from serve.storage.schema.tables import images, jobs
from tests.serve.recorded_jobs import add, record_step, start

JobMaker = Callable[..., NewJob]
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def run(database: Database, job: NewJob, stage: str) -> str:
    """Let a job report a step of a stage; returns its id."""
    start(database, add(database, job))
    record_step(database, job.id, stage, 1, 10)
    return job.id


def finish(database: Database, job: NewJob, costs_s: dict[str, float]) -> None:
    """Let a job succeed with all its pictures."""
    start(database, add(database, job))
    database.jobs.add_costs(job.id, costs_s)
    with database.writing() as connection:
        of_job = update(images).where(images.c.job_id == job.id)
        connection.execute(of_job.values(ready_at=utc_now()))
    database.jobs.finish(job.id, "succeeded")


def test_nothing_was_done_in_an_empty_database(database: Database) -> None:
    assert database.activity.within(HOUR) == Activity({}, {}, {})


def test_running_jobs_are_counted_by_the_stage_that_they_are_in(
    database: Database, make_job: JobMaker
) -> None:
    for stage in ("c", "b", "b"):
        run(database, make_job(model="demo"), stage)
    run(database, make_job(model="other"), "b")
    run(database, make_job(), "c")  # of a release that knew one model alone
    add(database, make_job())  # queued
    start(database, add(database, make_job()))  # has reported no step
    database.jobs.finish(run(database, make_job(), "c"), "cancelled")
    assert database.activity.within(HOUR).jobs == {
        ("demo", "c"): 1,
        ("demo", "b"): 2,
        ("other", "b"): 1,
        (None, "c"): 1,
    }


def test_a_stages_seconds_are_those_of_the_images_that_passed_it(
    database: Database, make_job: JobMaker
) -> None:
    finish(database, make_job(n=3), {"c": 3.0, "b": 1.5})
    finish(database, make_job(), {"b": 0.5})  # as new details of a stored latent
    work = database.activity.within(HOUR).work
    assert work == {(None, "c"): StageWork(3, 3.0), (None, "b"): StageWork(4, 2.0)}
    assert [stage.seconds_per_image for stage in work.values()] == [1.0, 0.5]
    assert StageWork().seconds_per_image is None


def test_only_the_newest_jobs_are_read_for_seconds(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.storage.job_queue.activity._NEWEST", 1)
    for _ in range(2):
        finish(database, make_job(), {"c": 1.0})
    assert database.activity.within(HOUR).work == {(None, "c"): StageWork(1, 1.0)}


def test_errors_are_counted_by_code(database: Database, make_job: JobMaker) -> None:
    for error in (OutOfMemory("x"), DeadlineExceeded("x"), OutOfMemory("y")):
        database.jobs.finish(add(database, make_job()), "failed", error.to_dict())
    database.jobs.finish(add(database, make_job()), "cancelled")
    errors = database.activity.within(HOUR).errors
    assert errors == {"out_of_memory": 2, "deadline_exceeded": 1}


def test_what_ended_before_the_period_counts_no_longer(
    database: Database, make_job: JobMaker
) -> None:
    finish(database, make_job(), {"c": 1.0})
    database.jobs.finish(add(database, make_job()), "failed", OutOfMemory("x").to_dict())
    with database.writing() as connection:
        connection.execute(update(jobs).values(finished_at=utc_now() - HOUR))
    assert database.activity.within(HOUR) == Activity({}, {}, {})
