"""How many requests may be held open: event streams, and requests that wait for a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cascade_core.errors import NotReady, RateLimited

COME_BACK_S = 5.0


class HeldRequests:
    """Counts what one gateway process holds open, by key and in all.

    Each held request costs little, but Serve gives a replica a fixed number of requests at a
    time: without limits, idle streams would shut everybody else out.

    Args:
        total: most of all keys together.
        per_key: most of one key.
    """

    def __init__(self, total: int, per_key: int) -> None:
        self._total = total
        self._per_key = per_key
        self._counts: Counter[str | None] = Counter()

    @property
    def count(self) -> int:
        """Return how many requests are held open."""
        return self._counts.total()

    @contextmanager
    def hold(self, key_id: str | None) -> Iterator[None]:
        """Count one request of a key for as long as the block runs.

        Raises:
            RateLimited: the key has too many open.
            NotReady: there are too many in all.
        """
        if self._counts[key_id] >= self._per_key:
            message = f"this key may hold {self._per_key} streams and waiting requests open"
            raise RateLimited(message, None, COME_BACK_S)
        if self.count >= self._total:
            raise NotReady("too many streams and waiting requests are open; try again later")
        self._counts[key_id] += 1
        try:
            yield
        finally:
            self._counts[key_id] -= 1
            if not self._counts[key_id]:
                del self._counts[key_id]
