"""Where a job stands in the line, and when it is probably done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.serve.recorded_jobs import add, body, finished_after

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def position(database: Database, job_id: str) -> int | None:
    job = database.jobs.get(job_id)
    assert job is not None
    return job.position


def test_the_position_counts_the_jobs_that_end_before(
    database: Database, make_job: JobMaker
) -> None:
    ids = [add(database, make_job()) for _ in range(4)]
    assert [position(database, job_id) for job_id in ids] == [0, 1, 2, 3]
    database.jobs.start(ids[0])
    assert [position(database, job_id) for job_id in ids] == [None, 1, 2, 3]
    database.jobs.finish(ids[0], "succeeded")
    assert position(database, ids[3]) == 2
    assert database.events.of_job(ids[3])[0].data == {"position": 3, "eta_s": None}


def test_a_user_stands_behind_no_more_than_the_first_job_of_a_flood(
    database: Database, make_job: JobMaker
) -> None:
    for _ in range(10):
        add(database, make_job(user="flooder"))
    assert position(database, add(database, make_job(user="other"))) == 1


def test_the_estimate_follows_the_work_ahead_and_the_pace_of_past_jobs(
    database: Database, make_job: JobMaker
) -> None:
    for seconds in (2.0, 4.0):
        finished_after(database, add(database, make_job()), seconds)
    first, large = add(database, make_job()), add(database, make_job(n=4))
    assert body(database, first)["eta_s"] == 3.0
    assert body(database, large)["eta_s"] == 15.0
    assert database.events.of_job(large)[0].data == {"position": 1, "eta_s": 15.0}
    database.jobs.start(first)
    assert 0 < body(database, first)["eta_s"] <= 3.0


def test_no_time_is_promised_while_a_stage_that_a_job_needs_has_to_start(
    database: Database, make_job: JobMaker
) -> None:
    finished_after(database, add(database, make_job()), 2.0)
    database.scaled_to_zero.record({"c", "a"})
    database.scaled_to_zero.record({"c"})
    new, varied = (
        add(database, make_job()),
        add(database, make_job(kind="vary_details", latent_id="x")),
    )
    assert database.events.of_job(new)[0].data == {"position": 0, "eta_s": None}
    assert body(database, new)["eta_s"] is None
    assert body(database, varied)["eta_s"] is not None
    database.jobs.start(new)
    database.jobs.record_progress(new, "b", 1, 10, 0)
    assert body(database, new)["eta_s"] is not None
    database.scaled_to_zero.record(set())
    assert body(database, add(database, make_job()))["eta_s"] is not None


def test_the_pace_is_that_of_the_last_twenty_jobs(database: Database, make_job: JobMaker) -> None:
    finished_after(database, add(database, make_job()), 1000.0)
    for _ in range(20):
        finished_after(database, add(database, make_job()), 2.0)
    assert body(database, add(database, make_job()))["eta_s"] == 2.0
