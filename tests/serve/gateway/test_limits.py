"""Limits of requests per minute: of keys, and of clients that look at shared images."""

from __future__ import annotations

import pytest

from cascade_core.errors import RateLimited
from serve.gateway import limits
from tests.serve.clock import Clock


def test_a_bucket_holds_a_minute_and_refills_at_its_rate() -> None:
    clock = Clock()
    limiter = limits.RateLimiter(clock=clock)

    def take(count: int) -> None:
        for _ in range(count):
            limiter.take("a", 60)

    for pause_s, there in ((0, 60), (2, 2), (3600, 60)):
        clock.now_s += pause_s
        take(there)
        with pytest.raises(RateLimited) as refused:
            take(1)
        assert refused.value.retry_after_s == pytest.approx(1.0)
    for _ in range(1000):
        limiter.take("b", 0)


def test_buckets_that_are_full_again_or_too_many_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_BUCKETS", 3)
    clock = Clock()
    limiter = limits.RateLimiter(clock=clock)
    for number in range(10):
        limiter.take(f"name {number}", 1)
    assert limiter._buckets.keys() == {"name 7", "name 8", "name 9"}
    with pytest.raises(RateLimited):
        limiter.take("name 7", 1)
    clock.now_s += 60
    limiter.take("new", 1)
    assert limiter._buckets.keys() == {"new"}


def test_one_network_is_one_client_and_behind_a_proxy_only_pictures_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SHARED_PER_CLIENT", 1)
    limiter = limits.SharedImageLimiter(knows_clients=True)
    limiter.take("I", "2001:db8::1")
    with pytest.raises(RateLimited):
        limiter.take("I", "2001:db8::2")
    limiter.take("I", "2001:db8:0:1::1")
    limiter.take("I", "192.0.2.1")
    behind = limits.SharedImageLimiter(knows_clients=False)
    for _ in range(5):
        behind.take("I", "10.0.0.1")
