"""The deadline of a job grows with its estimate."""

from hypothesis import given
from hypothesis import strategies as st

from serve.settings import MIN_DEADLINE_S
from serve.storage.deadline_store import UNKNOWN_DEADLINE_S, time_allowed_s

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
