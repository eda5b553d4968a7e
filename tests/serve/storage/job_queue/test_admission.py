"""Accepting jobs: what it asks of the database, and what waits for it; on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascade_core.errors import RateLimited
from serve.storage.database import Database
from serve.storage.job_queue.admission import REFUSING_S, lock_admission
from serve.storage.job_queue.estimates import KEPT_FROM_JOBS
from serve.storage.job_store import JobStore
from serve.storage.records import NewJob, OpenLimits
from tests.limits import HANG_S
from tests.serve.clock import Clock
from tests.serve.recorded_jobs import add, copy, start
from tests.serve.storage.job_queue.locks import wait_until_a_lock_is_waited_for
from tests.serve.storage.statements import Statements, counted

JobMaker = Callable[..., NewJob]
LIMITS = OpenLimits(total=1000, per_user=900)
OF_POSTGRESQL = 2
"""Statements that accepting a job takes there besides: the server's time, and a lock."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def is_postgresql(database_url: str) -> bool:
    return database_url.startswith("postgresql")


@pytest.fixture
def other_process(database: Database, database_url: str) -> Iterator[Database]:
    other = Database(database_url)
    yield other
    other.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(database: Database, clock: Clock) -> JobStore:
    return JobStore(database, clock)


def asked(found: Statements) -> tuple[int, int]:
    return found.transactions, len(found.made)


def test_a_job_is_accepted_in_one_transaction_of_few_statements(
    database: Database, jobs: JobStore, make_job: JobMaker, is_postgresql: bool
) -> None:
    """The queue (3), the job, its images, the count of open jobs, the event."""
    add(database, make_job())
    with counted(database) as found:
        jobs.insert(make_job(n=4), LIMITS)
    assert asked(found) == (1, 7 + OF_POSTGRESQL * is_postgresql)


def test_behind_many_jobs_accepting_and_showing_one_reads_no_other(
    database: Database, jobs: JobStore, make_job: JobMaker, is_postgresql: bool
) -> None:
    copy(database, add(database, make_job()), KEPT_FROM_JOBS)
    jobs.insert(make_job(), LIMITS)
    job = make_job()
    with counted(database) as accepting:
        jobs.insert(job, LIMITS)
    with counted(database) as showing:
        jobs.get(job.id)
    assert asked(accepting) == (1, 4 + OF_POSTGRESQL * is_postgresql)
    assert asked(showing) == (1, 2)


def test_a_job_is_shown_by_one_transaction_of_few_statements(
    database: Database, jobs: JobStore, make_job: JobMaker
) -> None:
    """The job, its images, and the queue (3) while it is open."""
    job_id = add(database, make_job(n=4))
    with counted(database) as queued:
        jobs.get(job_id)
    database.jobs.finish(job_id, "cancelled")
    with counted(database) as ended:
        jobs.get(job_id)
    assert (asked(queued), asked(ended)) == ((1, 5), (1, 2))


@pytest.mark.parametrize("user", [None, "ann"])
def test_open_jobs_are_counted_and_ordered_from_one_index_without_their_rows(
    database: Database,
    jobs: JobStore,
    make_job: JobMaker,
    is_postgresql: bool,
    user: str | None,
) -> None:
    if is_postgresql:
        pytest.skip("PostgreSQL plans by the sizes of the tables")
    with counted(database) as found:
        jobs.insert(make_job(user=user), LIMITS)
    reads = [made for made in found.made if "WHERE jobs.state IN" in made[0]]
    with database.reading() as connection:
        plans = [
            [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)]
            for query, values in reads
        ]
    index = "SEARCH jobs USING COVERING INDEX jobs_by_state"
    order, counts = ([step for step in plan if " USING " in step] for plan in plans)
    assert order == [f"{index} (state=?)"]
    later = "SEARCH images USING COVERING INDEX images_by_job (job_id=? AND index>?)"
    of_user, of_all = f"{index} (state=? AND owner=? AND user=?)", f"{index} (state=?)"
    assert counts == [of_user, of_user, later, of_all, of_all, later]


def test_a_refused_job_leaves_nothing_behind(
    database: Database, jobs: JobStore, make_job: JobMaker
) -> None:
    limits = OpenLimits(total=1, per_user=1)
    add(database, make_job())
    for _ in range(2):
        refused = make_job()
        with pytest.raises(RateLimited):
            jobs.insert(refused, limits)
        assert jobs.get(refused.id) is None
        assert database.events.of_job(refused.id) == []


def test_a_flood_of_refused_requests_takes_no_lock(
    database: Database, other_process: Database, jobs: JobStore, clock: Clock, make_job: JobMaker
) -> None:
    limits = OpenLimits(total=1, per_user=1)
    accepted = make_job()
    jobs.insert(accepted, limits)
    with pytest.raises(RateLimited):
        jobs.insert(make_job(), limits)
    with other_process.writing() as connection:
        lock_admission(connection)
        for _ in range(3):
            clock.now_s += 0.9 * REFUSING_S
            with pytest.raises(RateLimited):
                jobs.insert(make_job(), limits)
        assert jobs.insert(accepted, limits) == accepted.id
    database.jobs.finish(accepted.id, "cancelled")
    assert jobs.insert(make_job(), limits) is None


def test_a_job_that_waits_for_others_to_be_accepted_holds_up_no_other_writer(
    database: Database, other_process: Database, make_job: JobMaker, is_postgresql: bool
) -> None:
    if not is_postgresql:
        pytest.skip("SQLite has one writer at a time")
    running = add(database, make_job())
    with ThreadPoolExecutor(1) as thread:
        with other_process.writing() as connection:
            lock_admission(connection)
            accepting = thread.submit(database.jobs.insert, make_job(), LIMITS)
            wait_until_a_lock_is_waited_for(database)
            start(database, running)
            assert database.jobs.finish(running, "succeeded")
            assert not accepting.done()
        assert accepting.result(HANG_S) is None
