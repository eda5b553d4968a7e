"""How many requests a key may send."""

from __future__ import annotations

import time
from collections.abc import Callable

from cascade_core.errors import RateLimited


class RateLimiter:
    """A token bucket per key, in this process's memory.

    A bucket holds one minute's worth, so a key may send that many at once and then goes on at its
    rate. Each gateway process counts for itself: behind n of them a key gets at most n times its
    limit. That is enough against a client gone wild, and costs no database query per request.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str, per_minute: int) -> None:
        """Count one request.

        Args:
            key_id: whose.
            per_minute: its limit; 0 is none.

        Raises:
            RateLimited: the bucket is empty; says in how many seconds it is not.
        """
        if per_minute == 0:
            return
        now_s, per_s = self._clock(), per_minute / 60
        left, since_s = self._buckets.get(key_id, (float(per_minute), now_s))
        left = min(float(per_minute), left + (now_s - since_s) * per_s)
        if left < 1:
            self._buckets[key_id] = left, now_s
            message = f"this key may send {per_minute} requests per minute"
            raise RateLimited(message, None, (1 - left) / per_s)
        self._buckets[key_id] = left - 1, now_s
