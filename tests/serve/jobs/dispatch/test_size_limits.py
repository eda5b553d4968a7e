"""Requests of a size that cannot run fail at once; the size is tried again later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cascade_core.errors import CannotBeServed, OutOfMemory
from cascade_core.request import GenerationRequest
from serve.jobs.dispatch.size_limits import FORGET_AFTER_S, SizeLimits
from tests.serve.clock import Clock

MakeRequest = Callable[..., GenerationRequest]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> SizeLimits:
    return SizeLimits(clock)


def test_a_size_that_ran_out_of_memory_is_refused_with_what_is_possible(
    limits: SizeLimits, make_request: MakeRequest
) -> None:
    limits.note_success("b", make_request(width=1024, height=512))
    first = limits.note_out_of_memory("b", make_request(width=1920, height=2048))
    with pytest.raises(CannotBeServed) as next_one:
        limits.check("b", make_request(width=2048, height=2048))
    assert str(first) == (
        "no replica of stage B has enough memory for 1920x2048 px; the largest that ran is 1024x512"
    )
    assert "2048x2048" in str(next_one.value)


def test_smaller_sizes_and_other_stages_go_on(
    limits: SizeLimits, make_request: MakeRequest
) -> None:
    limits.note_out_of_memory("b", make_request(width=2048, height=2048))
    limits.check("b", make_request(width=2048, height=1792))
    limits.check("c", make_request(width=2048, height=2048))


def test_the_smallest_size_that_failed_counts(
    limits: SizeLimits, make_request: MakeRequest
) -> None:
    limits.note_out_of_memory("b", make_request(width=2048, height=2048))
    limits.note_out_of_memory("b", make_request(width=1024, height=1024))
    with pytest.raises(CannotBeServed):
        limits.check("b", make_request(width=1536, height=1536))


def test_a_size_that_was_too_large_may_be_tried_again_after_a_while(
    limits: SizeLimits, clock: Clock, make_request: MakeRequest
) -> None:
    limits.note_out_of_memory("b", make_request(width=2048, height=2048))
    clock.now_s = FORGET_AFTER_S
    limits.check("b", make_request(width=2048, height=2048))


def test_a_size_that_runs_after_all_is_allowed_again(
    limits: SizeLimits, make_request: MakeRequest
) -> None:
    limits.note_out_of_memory("b", make_request(width=1024, height=1024))
    limits.note_success("b", make_request(width=1536, height=1536))  # was under way meanwhile
    limits.check("b", make_request(width=1024, height=1024))


def test_a_size_that_has_run_before_fails_for_one_job_only(
    limits: SizeLimits, make_request: MakeRequest
) -> None:
    limits.note_success("a", make_request(width=1024, height=1024))
    error = limits.note_out_of_memory("a", make_request(width=512, height=512))
    assert type(error) is OutOfMemory
    limits.check("a", make_request(width=1024, height=1024))
