"""The deadline of a job grows with its estimate and with outages."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from serve.settings import MIN_DEADLINE_S
from serve.storage.database import Database
from serve.storage.job_queue.deadline_store import UNKNOWN_DEADLINE_S, extend_all, time_allowed_s
from serve.storage.job_store import update_open
from serve.storage.records import NewJob
from tests.limits import HANG_S
from tests.serve.recorded_jobs import add, record_step
from tests.serve.storage.job_queue.locks import wait_until_a_lock_is_waited_for

seconds = st.floats(0, 1e6)


@given(st.none() | seconds, seconds)
def test_every_job_is_granted_the_least_time(estimate_s: float | None, at_least_s: float) -> None:
    assert time_allowed_s(estimate_s, at_least_s) >= at_least_s


@given(seconds, seconds)
def test_more_work_is_never_granted_less_time(estimate_s: float, more_s: float) -> None:
    assert time_allowed_s(estimate_s + more_s) >= time_allowed_s(estimate_s)


@given(seconds)
def test_a_job_may_take_several_times_its_estimate(estimate_s: float) -> None:
    assert time_allowed_s(estimate_s) >= MIN_DEADLINE_S + 5 * estimate_s


def test_as_long_as_nothing_was_measured_there_are_hours() -> None:
    assert time_allowed_s(None) == UNKNOWN_DEADLINE_S >= 6 * 3600
    assert time_allowed_s(None, at_least_s=10 * UNKNOWN_DEADLINE_S) == 10 * UNKNOWN_DEADLINE_S


def test_deadlines_are_extended_beside_transactions_that_lock_jobs_in_the_order_of_their_ids(
    new_database_url: Callable[[str], str], make_job: Callable[..., NewJob]
) -> None:
    database = Database(new_database_url("postgresql"))  # SQLite has one writer at a time
    first, second = add(database, make_job()), add(database, make_job())
    record_step(database, first, "c", 1, 2)  # moves its row behind the other one

    def extend() -> None:
        with database.writing() as connection:
            extend_all(connection, timedelta(hours=1))

    with ThreadPoolExecutor(1) as thread:
        with database.writing() as connection:
            assert update_open(connection, first, {})
            extending = thread.submit(extend)
            wait_until_a_lock_is_waited_for(database)
            assert update_open(connection, second, {})
        extending.result(HANG_S)
    database.close()
