"""Refusals for too many open jobs, repeated by the gateway for a moment without asking again.

Under a flood each refusal would cost a call to the process that works on the accepted jobs, and
would wait behind them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cascade_core.errors import RateLimited
from serve.records import JobOwner

HOLD_S: Final = 1.0
"""As long as the shortest Retry-After: who comes back as told is never held up by this."""


class RecentRefusals:
    """Remembers for each user what was refused within the last second.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: dict[str, tuple[float, RateLimited]] = {}

    def note(self, owner: JobOwner, refusal: RateLimited) -> None:
        """Remember that a user was refused now."""
        now_s = self._clock()
        self._recent = {
            user: (at_s, earlier)
            for user, (at_s, earlier) in self._recent.items()
            if now_s - at_s < HOLD_S
        }
        self._recent[owner.turns] = (now_s, refusal)

    def check(self, owner: JobOwner) -> None:
        """Refuse again who was refused a moment ago.

        Raises:
            RateLimited: says the same as then.
        """
        at_s, refusal = self._recent.get(owner.turns, (0.0, None))
        if refusal is not None and self._clock() - at_s < HOLD_S:
            raise RateLimited(refusal.message, refusal.field, refusal.retry_after_s)
