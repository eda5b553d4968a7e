"""What a unit of work and an image cost a replica."""

from __future__ import annotations

import pytest

from serve.stages.work_meter import WorkMeter


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
