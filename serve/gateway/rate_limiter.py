"""How many requests per minute a key, a client or a picture may have."""

from __future__ import annotations

import time
from collections.abc import Callable

from cascade_core.errors import RateLimited

MAX_BUCKETS = 100_000
_FULL_AFTER_S = 60.0


class RateLimiter:
    """A token bucket per name, in this process's memory.

    A bucket holds one minute's worth, so a key may send that many at once and then goes on at its
    rate. Each gateway process counts for itself: behind n of them a key gets at most n times its
    limit. That is enough against a client gone wild, and costs no database query per request.

    Args:
        message: of the refusal, with ``{}`` for the limit.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        message: str = "this key may send {} requests per minute",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._message = message
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # the one that was used last is last

    def take(self, name: str, per_minute: int) -> None:
        """Count one request.

        Args:
            name: whose.
            per_minute: its limit; 0 is none.

        Raises:
            RateLimited: the bucket is empty; says in how many seconds it is not.
        """
        if per_minute == 0:
            return
        now_s, per_s = self._clock(), per_minute / 60
        left, since_s = self._buckets.pop(name, (float(per_minute), now_s))
        left = min(float(per_minute), left + (now_s - since_s) * per_s)
        is_empty = left < 1
        self._buckets[name] = (left if is_empty else left - 1), now_s
        self._forget(now_s)
        if is_empty:
            raise RateLimited(self._message.format(per_minute), None, (1 - left) / per_s)

    def _forget(self, now_s: float) -> None:
        """Drop buckets that are full again, and the oldest where there are too many."""
        while self._buckets:
            name, (_, since_s) = next(iter(self._buckets.items()))
            if now_s - since_s < _FULL_AFTER_S and len(self._buckets) <= MAX_BUCKETS:
                return
            del self._buckets[name]
