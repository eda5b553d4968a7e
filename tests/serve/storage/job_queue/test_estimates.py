"""Where a job stands in the line, and when it is probably done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection

from serve.storage.database import Database
from serve.storage.job_queue import estimates
from serve.storage.job_queue.estimates import KEPT_FROM_JOBS, KEPT_S, QueueEstimate, QueueEstimates
from serve.storage.job_store import JobStore
from serve.storage.records import NewJob
from tests.limits import HANG_S
from tests.serve.clock import Clock
from tests.serve.recorded_jobs import add, body, copy, finished_after, record_step, start

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def one_process(database: Database, clock: Clock) -> JobStore:
    """What one process sees; others use ``database.jobs`` meanwhile."""
    return JobStore(database, clock)


def position(database: Database, job_id: str) -> int | None:
    return position_in(database.jobs, job_id)


def position_in(store: JobStore, job_id: str) -> int | None:
    job = store.get(job_id)
    assert job is not None
    return job.position


def told(database: Database, job: NewJob) -> int:
    """Return the position that the event of a job's acceptance says."""
    found: int = database.events.of_job(job.id)[0].data["position"]
    return found


def test_the_position_counts_the_jobs_that_end_before(
    database: Database, make_job: JobMaker
) -> None:
    ids = [add(database, make_job()) for _ in range(4)]
    assert [position(database, job_id) for job_id in ids] == [0, 1, 2, 3]
    start(database, ids[0])
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
    start(database, first)
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
    start(database, new)
    record_step(database, new, "b", 1, 10, 0)
    assert body(database, new)["eta_s"] is not None
    database.scaled_to_zero.record(set())
    assert body(database, add(database, make_job()))["eta_s"] is not None


def test_the_pace_is_that_of_the_last_twenty_jobs(database: Database, make_job: JobMaker) -> None:
    finished_after(database, add(database, make_job()), 1000.0)
    for _ in range(20):
        finished_after(database, add(database, make_job()), 2.0)
    assert body(database, add(database, make_job()))["eta_s"] == 2.0


def test_each_model_has_a_pace_of_its_own_and_the_line_holds_the_jobs_of_all(
    database: Database, make_job: JobMaker
) -> None:
    for _ in range(30):
        finished_after(database, add(database, make_job(model="fast")), 1.0)
    finished_after(database, add(database, make_job(model="slow")), 100.0)
    for _ in range(30):
        finished_after(database, add(database, make_job(model="fast")), 1.0)
    slow = [add(database, make_job(model="slow")) for _ in range(2)]
    fast, unknown = (add(database, make_job(model=name)) for name in ("fast", "new"))
    assert [body(database, job_id)["eta_s"] for job_id in (*slow, fast)] == [100.0, 200.0, 201.0]
    # A model without a past takes the pace of the last jobs of all.
    assert database.events.of_job(unknown)[0].data["eta_s"] == 202.0


def test_the_deadline_of_a_slow_models_job_follows_its_own_pace(
    database: Database, make_job: JobMaker
) -> None:
    finished_after(database, add(database, make_job(model="slow")), 1000.0)
    for _ in range(30):
        finished_after(database, add(database, make_job(model="fast")), 1.0)
    job = database.jobs.get(add(database, make_job(model="slow")))
    assert job is not None
    assert job.deadline_at is not None
    assert (job.deadline_at - job.created_at).total_seconds() > 10_000


def test_among_many_open_jobs_a_model_without_one_has_its_own_pace_too(
    database: Database, one_process: JobStore, make_job: JobMaker
) -> None:
    finished_after(database, add(database, make_job(model="slow")), 100.0)
    first = add(database, make_job(model="fast"))
    finished_after(database, first, 1.0)
    waiting = add(database, make_job(model="fast"))
    copy(database, waiting, KEPT_FROM_JOBS)
    position_in(one_process, waiting)  # from here on an estimate is kept
    job = make_job(model="slow")
    one_process.insert(job)
    ahead, eta_s = (database.events.of_job(job.id)[0].data[name] for name in ("position", "eta_s"))
    assert eta_s == ahead * 1.0 + 100.0


def test_a_job_behind_many_others_is_shown_behind_all_that_its_process_has_accepted(
    database: Database, one_process: JobStore, make_job: JobMaker
) -> None:
    first = add(database, make_job())
    copy(database, first, KEPT_FROM_JOBS - 1)
    accepted = [make_job() for _ in range(3)]
    for job in accepted:
        one_process.insert(job)
    at = [KEPT_FROM_JOBS, KEPT_FROM_JOBS + 1, KEPT_FROM_JOBS + 2]
    assert [told(database, job) for job in accepted] == at
    assert [position_in(one_process, job.id) for job in accepted] == at
    newcomer = make_job(user="newcomer")
    one_process.insert(newcomer)
    assert told(database, newcomer) == 1


def test_behind_many_jobs_what_other_processes_did_is_seen_within_a_second(
    database: Database, one_process: JobStore, clock: Clock, make_job: JobMaker
) -> None:
    first, started, ended, last = (add(database, make_job()) for _ in range(4))
    copy(database, first, KEPT_FROM_JOBS)
    assert position_in(one_process, last) == KEPT_FROM_JOBS + 3
    start(database, started)
    database.jobs.finish(ended, "cancelled")
    new = add(database, make_job())
    assert position_in(one_process, started) is None
    assert position_in(one_process, ended) is None
    assert position_in(one_process, new) == KEPT_FROM_JOBS + 4  # counts one that has ended
    clock.now_s += KEPT_S
    assert position_in(one_process, new) == KEPT_FROM_JOBS + 3


def test_the_pace_follows_within_a_second_while_many_jobs_are_open(
    database: Database, one_process: JobStore, clock: Clock, make_job: JobMaker
) -> None:
    first, last = add(database, make_job()), add(database, make_job(user="newcomer"))
    copy(database, first, KEPT_FROM_JOBS)
    assert eta_s(one_process, last) is None
    finished_after(database, first, 2.0)
    clock.now_s += KEPT_S
    assert eta_s(one_process, last) == 4.0


def eta_s(store: JobStore, job_id: str) -> float | None:
    job = store.get(job_id)
    assert job is not None
    return job.eta_s


def test_only_one_thread_reads_many_jobs_anew_and_the_others_do_not_wait(
    database: Database, clock: Clock, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(database, add(database, make_job()), KEPT_FROM_JOBS)
    reading, go_on, real = threading.Event(), threading.Event(), estimates._read_estimate

    def slow(connection: Connection) -> QueueEstimate:
        reading.set()
        go_on.wait(HANG_S)
        return real(connection)

    shared = QueueEstimates(clock)
    with ThreadPoolExecutor(1) as thread, database.reading() as connection:
        kept = shared.read(connection)
        assert shared.read(connection) is kept
        clock.now_s += KEPT_S
        monkeypatch.setattr(estimates, "_read_estimate", slow)

        def read_anew() -> QueueEstimate:
            with database.reading() as other:
                return shared.read(other)

        renewing = thread.submit(read_anew)
        assert reading.wait(HANG_S)
        assert shared.read(connection) is kept
        go_on.set()
        renewed = renewing.result()
        assert renewed is not kept
        assert shared.read(connection) is renewed


def test_a_thread_reads_many_jobs_itself_where_the_kept_estimate_is_old_and_another_one_reads(
    database: Database, clock: Clock, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(database, add(database, make_job()), KEPT_FROM_JOBS)
    reading, go_on, real = threading.Event(), threading.Event(), estimates._read_estimate
    shared = QueueEstimates(clock)

    def read_anew() -> QueueEstimate:
        with database.reading() as connection:
            return shared.read(connection)

    def slow(connection: Connection) -> QueueEstimate:
        monkeypatch.setattr(estimates, "_read_estimate", real)  # the next thread is not slow
        reading.set()
        go_on.wait(HANG_S)
        return real(connection)

    kept = read_anew()
    clock.now_s += 3600.0
    monkeypatch.setattr(estimates, "_read_estimate", slow)
    with ThreadPoolExecutor(1) as thread:
        renewing = thread.submit(read_anew)
        assert reading.wait(HANG_S)
        newer = read_anew()
        assert newer is not kept
        assert read_anew() is newer
        go_on.set()
        assert renewing.result() is not newer


def test_few_jobs_are_read_anew_each_time(
    database: Database, clock: Clock, make_job: JobMaker
) -> None:
    copy(database, add(database, make_job()), KEPT_FROM_JOBS - 2)
    shared = QueueEstimates(clock)
    with database.reading() as connection:
        assert shared.read(connection) is not shared.read(connection)
