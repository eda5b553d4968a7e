"""Time as the emulator sees it, and ids that carry it."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime

_EPOCH_MS = 1_420_070_400_000  # the first millisecond of 2015, from which snowflakes count


class Clock:
    """Real time plus what a test has added; seconds since 1970."""

    def __init__(self) -> None:
        self._added_s = 0.0

    def now_s(self) -> float:
        """Return the time."""
        return time.time() + self._added_s

    def add(self, seconds: float) -> None:
        """Let time pass at once."""
        self._added_s += seconds


class Snowflakes:
    """Discord's ids: milliseconds in the upper bits, unique within them in the lower 22."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)

    def new(self, age_s: float = 0.0, shard: tuple[int, int] | None = None) -> str:
        """Return an id made ``age_s`` ago; of a guild that belongs to ``shard`` (index, count)."""
        milliseconds = int((self._clock.now_s() - age_s) * 1000) - _EPOCH_MS
        if shard is not None:
            milliseconds += (shard[0] - milliseconds) % shard[1]
        return str((milliseconds << 22) | (next(self._numbers) & 0x3FFFFF))


def shard_of(guild_id: str | None, shard_count: int) -> int:
    """Return the shard that gets a guild's events; without a guild it is the first."""
    return (int(guild_id) >> 22) % shard_count if guild_id else 0


def iso(at_s: float) -> str:
    """Return a time as Discord writes it."""
    return datetime.fromtimestamp(at_s, UTC).isoformat()
