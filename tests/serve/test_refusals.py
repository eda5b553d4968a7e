"""A user over the limit is refused again at once, others and later requests are not."""

from __future__ import annotations

import pytest

from cascade_core.errors import RateLimited
from serve.records import JobOwner
from serve.refusals import HOLD_S, RecentRefusals

ANN, BOB = JobOwner("key", "ann"), JobOwner("key", "bob")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_refusal_is_repeated_word_for_word_to_the_same_user_only() -> None:
    refusals = RecentRefusals(Clock())
    refusals.note(ANN, RateLimited("50 jobs are open", retry_after_s=7.0))
    with pytest.raises(RateLimited, match="50 jobs are open") as repeated:
        refusals.check(ANN)
    assert repeated.value.retry_after_s == 7.0
    refusals.check(BOB)


def test_who_comes_back_after_the_shortest_time_told_is_not_held_up() -> None:
    clock = Clock()
    refusals = RecentRefusals(clock)
    refusals.note(ANN, RateLimited("full", retry_after_s=1.0))
    clock.now_s += HOLD_S
    refusals.check(ANN)


def test_a_repeated_refusal_does_not_make_itself_last_longer() -> None:
    clock = Clock()
    refusals = RecentRefusals(clock)
    refusals.note(ANN, RateLimited("full"))
    clock.now_s += 0.9 * HOLD_S
    with pytest.raises(RateLimited):
        refusals.check(ANN)
    clock.now_s += 0.1 * HOLD_S
    refusals.check(ANN)
