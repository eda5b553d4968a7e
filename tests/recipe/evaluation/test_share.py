"""Shares and their intervals."""

import pytest

from recipe.evaluation.share import share, wilson_interval


def test_a_share_of_nothing_is_zero() -> None:
    assert share([]) == 0
    assert share([True, True, False]) == 0.6667


def test_the_interval_is_wilsons() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_the_interval_of_a_full_share_ends_at_one_and_does_not_collapse() -> None:
    low, high = wilson_interval(1.0, 120)
    assert high == pytest.approx(1)
    assert 0.96 < low < 0.98
