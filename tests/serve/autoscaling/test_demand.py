"""What Jobs tells the autoscaling policy about the work on its way."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from serve.autoscaling.demand import Arrivals, Demand


def test_an_image_is_open_work_at_each_stage_until_that_stage_is_done() -> None:
    demand = Demand("cba")
    with demand.image({"c": 3.0, "b": 2.0, "a": 1.0}) as done:
        done("c")
        stats = demand.stats()
        assert [stats[f"open_work_{stage}"] for stage in "cba"] == [0.0, 2.0, 1.0]
    assert [demand.stats()[f"open_work_{stage}"] for stage in "cba"] == [0.0, 0.0, 0.0]


def test_an_image_that_fails_or_is_cancelled_leaves_no_open_work() -> None:
    demand = Demand("cba")
    with pytest.raises(RuntimeError), demand.image({"b": 2.0, "a": 1.0}):
        raise RuntimeError("as planned")
    assert not any(demand.stats()[f"open_work_{stage}"] for stage in "cba")


def test_images_of_any_work_and_order_leave_no_open_work() -> None:
    demand = Demand("c")
    with ExitStack() as second, demand.image({"c": 0.1}):
        second.enter_context(demand.image({"c": 0.3}))
    assert demand._open["c"] > 0  # by the rounding of floats
    assert demand.stats()["open_work_c"] == 0.0


def test_vary_details_arrives_at_b_and_a_only() -> None:
    demand = Demand("cba", lambda: 100.0)
    with demand.image({"b": 20.0, "a": 10.0}):
        stats = demand.stats()
    assert [stats[f"arriving_10s_{stage}"] for stage in "cba"] == [0.0, 2.0, 1.0]


def test_rates_are_those_of_the_last_seconds_and_of_the_last_minutes() -> None:
    now_s = [0.0]
    arrivals = Arrivals(lambda: now_s[0])
    for second in range(300):
        now_s[0] = float(second)
        arrivals.add(2.0)
    assert arrivals.rates() == (2.0, 2.0, 2.0)
    now_s[0] = 349.0
    assert arrivals.rates() == (0.0, pytest.approx(2 * 10 / 60), pytest.approx(2 * 250 / 300))
    now_s[0] = 700.0
    assert arrivals.rates() == (0.0, 0.0, 0.0)
