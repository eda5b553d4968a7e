"""What cannot run fails at once, and what may run again is tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cascade_core.errors import CannotBeServed, OutOfMemory
from cascade_core.request import GenerationRequest
from serve.jobs.size_limits import FORGET_AFTER_S, Capacity

MakeRequest = Callable[..., GenerationRequest]


class Clock:
    """Stands still until it is moved."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def capacity(clock: Clock) -> Capacity:
    return Capacity(clock)


def test_a_size_that_ran_out_of_memory_is_refused_with_what_is_possible(
    capacity: Capacity, make_request: MakeRequest
) -> None:
    capacity.ran("b", make_request(width=1024, height=512))
    first = capacity.ran_out("b", make_request(width=1920, height=2048))
    with pytest.raises(CannotBeServed) as next_one:
        capacity.check("b", make_request(width=2048, height=2048))
    assert str(first) == (
        "no replica of stage B has enough memory for 1920x2048 px; the largest that ran is 1024x512"
    )
    assert "2048x2048" in str(next_one.value)


def test_smaller_sizes_and_other_stages_go_on(
    capacity: Capacity, make_request: MakeRequest
) -> None:
    capacity.ran_out("b", make_request(width=2048, height=2048))
    capacity.check("b", make_request(width=2048, height=1792))
    capacity.check("c", make_request(width=2048, height=2048))


def test_the_smallest_size_that_failed_counts(
    capacity: Capacity, make_request: MakeRequest
) -> None:
    capacity.ran_out("b", make_request(width=2048, height=2048))
    capacity.ran_out("b", make_request(width=1024, height=1024))
    with pytest.raises(CannotBeServed):
        capacity.check("b", make_request(width=1536, height=1536))


def test_a_size_that_was_too_large_may_be_tried_again_after_a_while(
    capacity: Capacity, clock: Clock, make_request: MakeRequest
) -> None:
    capacity.ran_out("b", make_request(width=2048, height=2048))
    clock.now_s = FORGET_AFTER_S
    capacity.check("b", make_request(width=2048, height=2048))


def test_a_size_that_runs_after_all_is_allowed_again(
    capacity: Capacity, make_request: MakeRequest
) -> None:
    capacity.ran_out("b", make_request(width=1024, height=1024))
    capacity.ran("b", make_request(width=1536, height=1536))  # was under way meanwhile
    capacity.check("b", make_request(width=1024, height=1024))


def test_a_size_that_has_run_before_fails_for_one_job_only(
    capacity: Capacity, make_request: MakeRequest
) -> None:
    capacity.ran("a", make_request(width=1024, height=1024))
    error = capacity.ran_out("a", make_request(width=512, height=512))
    assert type(error) is OutOfMemory
    capacity.check("a", make_request(width=1024, height=1024))
