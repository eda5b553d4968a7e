"""What Jobs tells the autoscaling policy about the work on its way, and what a stage tells."""

from __future__ import annotations

import pytest

from serve.autoscaling.demand import Arrivals, Demand
from serve.stages.work_meter import WorkMeter


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


def test_work_costs_what_the_model_took_for_the_last_images() -> None:
    busy_s = 7.0  # the warm-up
    meter = WorkMeter(lambda: busy_s, 2, lambda: 0.0)
    assert meter.stats()["seconds_per_work"] == 0.0
    for _ in range(2):
        with meter.image(4.0) as finished:
            busy_s += 2.0
            finished()
    assert meter.stats()["seconds_per_work"] == pytest.approx(0.5)
    assert meter.stats()["seconds_per_image"] == pytest.approx(2.0)
    with meter.image(6.0):
        assert meter.stats()["queued_s"] == pytest.approx(3.0)
    assert meter.stats()["queued_s"] == 0.0


def test_images_that_share_steps_share_their_cost() -> None:
    busy_s = 0.0
    meter = WorkMeter(lambda: busy_s, 2, lambda: 0.0)
    with meter.image(1.0) as first, meter.image(1.0) as second:
        busy_s = 3.0
        first()
        second()
    # The older of the two, which counts a little less, was charged with all of it.
    assert meter.stats()["seconds_per_image"] == pytest.approx(1.5, rel=0.1)


def test_the_cost_of_work_follows_a_change_within_some_images() -> None:
    busy_s = 0.0
    meter = WorkMeter(lambda: busy_s, 2, lambda: 0.0)
    for seconds in [1.0] * 50 + [3.0] * 30:
        with meter.image(1.0) as finished:
            busy_s += seconds
            finished()
    assert meter.stats()["seconds_per_work"] == pytest.approx(3.0, rel=0.05)


def test_an_image_whose_file_takes_longer_than_its_model_costs_the_place_it_holds() -> None:
    busy_s = now_s = 0.0
    meter = WorkMeter(lambda: busy_s, 2, lambda: now_s)
    with meter.image(1.0) as first, meter.image(1.0) as second:
        busy_s = 0.2
        now_s = 3.0
        first()
        second()
    # Two places for three seconds: such a replica makes an image in one and a half.
    assert meter.stats()["seconds_per_image"] == pytest.approx(1.5, rel=0.1)
