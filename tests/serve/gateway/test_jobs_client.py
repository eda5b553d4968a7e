"""A user over the limit is rejected again at once, others and later requests are not."""

from __future__ import annotations

import pytest

from cascade_core.errors import RateLimited
from serve.gateway.jobs_client import REPEAT_S, RejectionCache
from serve.storage.records import JobOwner
from tests.serve.clock import Clock

ANN, BOB = JobOwner("key", "ann"), JobOwner("key", "bob")
FULL = RateLimited("50 jobs are open", retry_after_s=7.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rejections(clock: Clock) -> RejectionCache:
    return RejectionCache(clock)


def reject(rejections: RejectionCache, owner: JobOwner) -> None:
    with pytest.raises(RateLimited), rejections.submitting(owner):
        raise FULL


def is_let_past(rejections: RejectionCache, owner: JobOwner) -> bool:
    try:
        with rejections.submitting(owner):
            return True
    except RateLimited:
        return False


def test_a_rejection_is_repeated_word_for_word_to_the_same_user_only(
    rejections: RejectionCache,
) -> None:
    reject(rejections, ANN)
    with (
        pytest.raises(RateLimited, match="50 jobs are open") as repeated,
        rejections.submitting(ANN),
    ):
        pytest.fail("let past")
    assert repeated.value.retry_after_s == 7.0
    assert is_let_past(rejections, BOB)


def test_a_client_that_comes_back_after_the_shortest_time_told_is_not_held_up(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += REPEAT_S
    assert is_let_past(rejections, ANN)


def test_a_repeated_rejection_does_not_make_itself_last_longer(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += 0.9 * REPEAT_S
    assert not is_let_past(rejections, ANN)
    clock.now_s += 0.1 * REPEAT_S
    assert is_let_past(rejections, ANN)


def test_while_one_request_of_a_rejected_user_is_being_answered_the_others_are_rejected(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += 5 * REPEAT_S
    with rejections.submitting(ANN):
        assert not is_let_past(rejections, ANN)
        assert is_let_past(rejections, BOB)


def test_after_an_accepted_job_all_are_let_past_again(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += REPEAT_S
    with rejections.submitting(ANN):
        pass
    with rejections.submitting(ANN):
        assert is_let_past(rejections, ANN)


def test_a_request_that_fails_otherwise_does_not_lock_its_user_out(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += REPEAT_S
    with pytest.raises(ConnectionError), rejections.submitting(ANN):
        raise ConnectionError
    assert is_let_past(rejections, ANN)
