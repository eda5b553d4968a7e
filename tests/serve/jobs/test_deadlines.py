"""By when jobs must have ended, on both databases; and how often replicas died of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from serve.jobs.deadline_timeout import deadline_exceeded
from serve.jobs.recovery import OVERDUE_AFTER, fail_overdue
from serve.storage.database import Database
from serve.storage.job_queue.deadline_store import DEADLINE_FACTOR, UNKNOWN_DEADLINE_S
from serve.storage.leases import EXPIRES_AFTER, LeaseStore
from serve.storage.records import Job, NewJob, OpenLimits, utc_now
from serve.storage.schema.tables import executors, jobs
from tests.serve.recorded_jobs import start
from tests.serve.storage.job_parts.drafts import DAY, chosen, drafted, redone, types

JobMaker = Callable[..., NewJob]
LIMITS = OpenLimits(total=100, per_user=100, min_deadline_s=60.0)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def change(database: Database, job_id: str, **values: object) -> None:
    with database.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def load(database: Database, job_id: str) -> Job:
    job = database.jobs.get(job_id)
    assert job is not None
    return job


def deadline(database: Database, job_id: str) -> datetime:
    deadline_at = load(database, job_id).deadline_at
    assert deadline_at is not None
    return deadline_at


def accept(database: Database, job: NewJob) -> str:
    database.jobs.insert(job, LIMITS)
    return job.id


def end_after(database: Database, job_id: str, seconds: float, state: str = "succeeded") -> None:
    end = utc_now()
    start = end - timedelta(seconds=seconds)
    error = None if state == "succeeded" else deadline_exceeded().to_dict()
    change(database, job_id, state=state, error=error, started_at=start, finished_at=end)


def allowed_s(database: Database, job_id: str) -> float:
    job = load(database, job_id)
    assert job.deadline_at is not None
    return (job.deadline_at - job.created_at).total_seconds()


def no_life_for(database: Database, time: timedelta) -> None:
    with database.writing() as connection:
        connection.execute(update(executors).values(heartbeat_at=utc_now() - time))


def not_counted(*job: str) -> None:
    pytest.fail(f"{job} was ended")


def set_process_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    for module in ("events", "image_store", "job_queries", "job_queue.estimates"):
        monkeypatch.setattr(f"serve.storage.{module}.utc_now", lambda: utc_now() + ahead)


def test_a_deadline_follows_the_estimate_and_is_shown_with_the_job(
    database: Database, make_job: JobMaker
) -> None:
    end_after(database, accept(database, make_job()), 3.0)
    first, second = accept(database, make_job()), accept(database, make_job(n=2))
    assert allowed_s(database, first) == pytest.approx(60 + DEADLINE_FACTOR * 3, abs=20)
    assert allowed_s(database, second) == pytest.approx(60 + DEADLINE_FACTOR * 9, abs=20)
    assert str(load(database, first).to_json()["deadline_at"]).endswith("Z")


def test_before_anything_was_measured_a_deadline_is_generous(
    database: Database, make_job: JobMaker
) -> None:
    assert allowed_s(database, accept(database, make_job())) == pytest.approx(
        UNKNOWN_DEADLINE_S, abs=20
    )


def test_a_service_that_became_too_slow_for_its_deadlines_grants_more_time(
    database: Database, make_job: JobMaker
) -> None:
    end_after(database, accept(database, make_job()), 1.0)
    before_s = allowed_s(database, accept(database, make_job()))
    end_after(database, accept(database, make_job()), 600.0, state="failed")
    end_after(database, accept(database, make_job()), 600.0, state="failed")
    assert allowed_s(database, accept(database, make_job())) > before_s + DEADLINE_FACTOR * 300


def test_deadlines_move_on_by_the_time_in_which_nothing_ran_jobs(
    database: Database, make_job: JobMaker, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = accept(database, make_job()), accept(database, make_job())
    start(database, first)
    before = [deadline(database, job_id) for job_id in (first, second)]
    LeaseStore(database).renew("jobs-0")
    no_life_for(database, 30 * MINUTE)
    LeaseStore(database).renew("jobs-0")
    LeaseStore(database).renew("jobs-1")  # starts a moment later
    moved = [
        deadline(database, job_id) - at for job_id, at in zip((first, second), before, strict=True)
    ]
    assert all(30 * MINUTE <= by < 31 * MINUTE for by in moved)
    assert "extended 2 deadlines" in caplog.text


def test_processes_that_start_together_move_deadlines_on_once(
    database: Database, make_job: JobMaker
) -> None:
    job_id = accept(database, make_job())
    before = deadline(database, job_id)
    LeaseStore(database).renew("jobs-0")
    no_life_for(database, 30 * MINUTE)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(LeaseStore(database).renew, [f"jobs-{rank}" for rank in range(4)]))
    assert deadline(database, job_id) - before < 31 * MINUTE


def test_deadlines_stay_while_any_process_runs_jobs(database: Database, make_job: JobMaker) -> None:
    job_id = accept(database, make_job())
    before = deadline(database, job_id)
    LeaseStore(database).renew("jobs-0")
    no_life_for(database, 2 * EXPIRES_AFTER)
    with database.writing() as connection:
        connection.execute(executors.insert().values(id="jobs-1", heartbeat_at=utc_now()))
    LeaseStore(database).renew("jobs-0")
    assert deadline(database, job_id) == before


def test_the_deadline_of_an_ended_job_stays(database: Database, make_job: JobMaker) -> None:
    job_id = accept(database, make_job())
    database.jobs.finish(job_id, "cancelled")
    before = deadline(database, job_id)
    LeaseStore(database).renew("jobs-0")
    no_life_for(database, 30 * MINUTE)
    LeaseStore(database).renew("jobs-0")
    assert deadline(database, job_id) == before


def test_a_job_that_no_process_ended_at_its_deadline_is_ended(
    database: Database, make_job: JobMaker
) -> None:
    late, barely, early, without = (accept(database, make_job()) for _ in range(4))
    change(database, late, deadline_at=utc_now() - 2 * OVERDUE_AFTER)
    change(database, barely, deadline_at=utc_now() - OVERDUE_AFTER / 2)
    change(database, without, deadline_at=None)
    LeaseStore(database).renew("jobs-0")
    counted: list[tuple[str, str, str]] = []
    fail_overdue(database, lambda *job: counted.append(job), DAY)
    ended = load(database, late)
    assert (ended.state, (ended.error or {})["code"]) == ("failed", "deadline_exceeded")
    assert database.jobs.open_ids() == sorted([barely, early, without])
    assert counted == [("generate", "failed", "deadline_exceeded")]


def test_a_draft_whose_redo_no_process_ended_waits_with_what_it_had_before(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=2, stop_after="c")
    drafted(database, job)
    before = load(database, job.id)
    LeaseStore(database).renew("jobs-0")
    assert database.waiting.redo(redone(job, 1), LIMITS)
    change(database, job.id, deadline_at=utc_now() - 2 * OVERDUE_AFTER)
    fail_overdue(database, not_counted, DAY)
    after = load(database, job.id)
    assert (after.state, after.error) == ("waiting", None)
    assert after.warnings == (f"composing anew failed: {deadline_exceeded()}",)
    assert after.images == (before.images[0], replace(before.images[1], redo_count=1))
    assert deadline(database, job.id) > utc_now() + DAY / 2
    assert types(database, job.id)[-1] == "waiting"
    assert database.waiting.resume(chosen(job, 1), LIMITS)
    change(database, job.id, deadline_at=utc_now() - 2 * OVERDUE_AFTER)
    fail_overdue(database, lambda *_: None, DAY)
    assert load(database, job.id).state == "failed"


def test_a_sign_of_life_from_before_the_clock_was_set_back_ends_no_job(
    database: Database, make_job: JobMaker
) -> None:
    LeaseStore(database).renew("jobs-1")
    no_life_for(database, -300 * MINUTE)
    LeaseStore(database).renew("jobs-0")
    job_id = accept(database, make_job())
    change(database, job_id, deadline_at=utc_now() + 15 * MINUTE)
    fail_overdue(database, not_counted, DAY)
    assert database.jobs.open_ids() == [job_id]


def test_after_an_outage_no_job_is_ended_before_its_deadline_has_moved_on(
    database: Database, make_job: JobMaker
) -> None:
    job_id = accept(database, make_job())
    LeaseStore(database).renew("jobs-0")
    no_life_for(database, 30 * MINUTE)
    change(database, job_id, deadline_at=utc_now() - 10 * MINUTE)
    fail_overdue(database, not_counted, DAY)
    LeaseStore(database).renew("jobs-0")
    fail_overdue(database, not_counted, DAY)
    assert database.jobs.open_ids() == [job_id]


def test_a_clock_that_was_set_back_while_a_job_ran_takes_no_time_from_later_ones(
    database: Database, make_job: JobMaker
) -> None:
    end_after(database, accept(database, make_job()), -100.0)
    job_id = accept(database, make_job())
    assert allowed_s(database, job_id) == pytest.approx(UNKNOWN_DEADLINE_S, abs=20)
    assert load(database, job_id).eta_s is None
    end_after(database, job_id, 3.0)
    assert load(database, accept(database, make_job())).eta_s == 3.0


def test_a_job_has_its_times_by_one_clock_whatever_that_of_its_machine_says(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_process_clock(monkeypatch, -300 * MINUTE)
    job_id = accept(database, make_job())
    start(database, job_id)
    database.jobs.finish(job_id, "succeeded")
    job = load(database, job_id)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.created_at <= job.started_at <= job.finished_at


def test_a_machine_whose_clock_is_wrong_accepts_jobs_with_right_times(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_process_clock(monkeypatch, 300 * MINUTE)
    job_id = accept(database, make_job())
    assert load(database, job_id).created_at < utc_now() + MINUTE
    assert allowed_s(database, job_id) == pytest.approx(UNKNOWN_DEADLINE_S, abs=20)


def test_the_time_left_is_told_by_the_clock_that_set_the_deadline(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's, which is ahead here; on another machine it can be."""
    for module in ("job_queue.deadline_store", "job_queue.admission"):
        ahead = utc_now() + 300 * MINUTE
        monkeypatch.setattr(
            f"serve.storage.{module}.database_now", lambda _connection, at=ahead: at
        )
    left_s = database.deadlines.seconds_left(accept(database, make_job()))
    assert left_s == pytest.approx(UNKNOWN_DEADLINE_S, abs=20)


def test_a_job_gets_the_time_for_which_it_waited(database: Database, make_job: JobMaker) -> None:
    waited, other, ended = (accept(database, make_job()) for _ in range(3))
    database.jobs.finish(ended, "cancelled")
    before = [deadline(database, job_id) for job_id in (waited, other, ended)]
    for job_id in (waited, ended):
        database.deadlines.extend(job_id, MINUTE)
    after = [deadline(database, job_id) for job_id in (waited, other, ended)]
    assert after == [before[0] + MINUTE, before[1], before[2]]


def test_the_time_left_is_none_without_a_deadline_and_negative_after_it(
    database: Database, make_job: JobMaker
) -> None:
    job_id = accept(database, make_job())
    change(database, job_id, deadline_at=utc_now() - MINUTE)
    assert -90 < (database.deadlines.seconds_left(job_id) or 0) <= -60
    change(database, job_id, deadline_at=None)
    assert database.deadlines.seconds_left(job_id) is None


def test_deaths_are_counted_by_call_and_outlive_the_process_that_saw_them(
    database: Database, database_url: str, make_job: JobMaker
) -> None:
    job_id, other = accept(database, make_job()), accept(database, make_job())
    assert database.jobs.count_crash(job_id, "b0") == 1
    assert database.jobs.count_crash(job_id, "b1") == 1
    assert database.jobs.count_crash(other, "b0") == 1
    started_again = Database(database_url)
    assert started_again.jobs.count_crash(job_id, "b0") == 2
    started_again.close()


def test_deaths_at_the_same_time_are_all_counted(database: Database, make_job: JobMaker) -> None:
    job_id = accept(database, make_job())
    with ThreadPoolExecutor(4) as threads:
        counts = threads.map(lambda _: database.jobs.count_crash(job_id, "c0"), range(8))
        assert sorted(counts) == list(range(1, 9))
