"""Refusals for too many open jobs, repeated by the gateway for a moment without asking again.

Under a flood each refusal would cost a call to the process that works on the accepted jobs, and
would wait behind them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from cascade_core.errors import RateLimited
from serve.storage.records import JobOwner

HOLD_S: Final = 1.0
"""As long as the shortest Retry-After: who comes back as told is never held up by this."""
KEEP_S: Final = 60.0
"""For so long, one request at a time finds out whether a refused user may send jobs again."""


class RecentRefusals:
    """Remembers for each user what was refused, until a job of theirs is accepted.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: dict[str, tuple[float, RateLimited]] = {}
        self._asking: set[str] = set()

    @contextmanager
    def asking(self, owner: JobOwner) -> Iterator[None]:
        """Ask for one job in this block, and remember whether it was refused.

        Raises:
            RateLimited: refused in the block; or, before it, as within the last second, or since
                another request of the refused user is still being answered.
        """
        user = owner.turns
        at_s, refusal = self._refused.get(user, (0.0, None))
        age_s = self._clock() - at_s
        if refusal is None or age_s >= KEEP_S:
            with self._noting(user):
                yield
            return
        if age_s < HOLD_S or user in self._asking:
            raise RateLimited(refusal.message, refusal.field, refusal.retry_after_s)
        self._asking.add(user)
        try:
            with self._noting(user):
                yield
        finally:
            self._asking.discard(user)

    @contextmanager
    def _noting(self, user: str) -> Iterator[None]:
        try:
            yield
        except RateLimited as refusal:
            now_s = self._clock()
            fresh = {
                name: entry for name, entry in self._refused.items() if now_s - entry[0] < KEEP_S
            }
            self._refused = fresh | {user: (now_s, refusal)}
            raise
        self._refused.pop(user, None)
