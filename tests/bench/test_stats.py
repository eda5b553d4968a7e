"""Percentiles, and how growth is told from filling up."""

from __future__ import annotations

import random

import pytest

from bench.stats import late_growth, percentiles


def test_percentiles_are_values_of_the_sample_in_whatever_order_it_comes() -> None:
    samples = [float(value) for value in range(101)]
    random.Random(0).shuffle(samples)
    assert percentiles(samples) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "n": 101}


def test_what_fills_up_in_the_first_half_does_not_count_as_growth() -> None:
    sizes_mb = [min(100.0 + 10 * second, 200.0) for second in range(60)]
    assert late_growth(range(60), sizes_mb) == pytest.approx(0.0, abs=1e-9)


def test_a_leak_is_told_by_what_it_took_in_the_second_half_despite_noise() -> None:
    rng = random.Random(0)
    sizes_mb = [100.0 + 0.5 * second + rng.uniform(-2, 2) for second in range(200)]
    assert late_growth(range(200), sizes_mb) == pytest.approx(50.0, rel=0.05)
