"""Pure policy: how many rows a step may take after the device ran out of memory."""

from __future__ import annotations

from typing import Final

Bucket = tuple[int, ...]

PROBE_AFTER_TURNS: Final = 256
"""Steps after which a bucket gets its full batch again: memory may have become free, and a probe
in vain costs one step in so many."""
WORN_OUT_AFTER: Final = 2
"""Times in a row that one row alone may not fit where one has fitted before."""
REST_S: Final = 5.0
"""For so long a process takes no rows of a size of which one alone did not fit: they go to another
replica if there is one, and if not, memory has some time to become free."""


class FittingRows:
    """What one process has learnt about its device's memory, by bucket.

    Args:
        max_rows: in one step as long as nothing else is known.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._limits: dict[Bucket, tuple[int, int]] = {}
        self._has_fitted: set[Bucket] = set()
        self._relapses: dict[Bucket, int] = {}
        self._ran_out_s: dict[Bucket, float] = {}

    def most(self, bucket: Bucket, turn: int) -> int:
        """Return how many rows the engine's step number ``turn`` may take; 1 at least."""
        rows, since = self._limits.get(bucket, (self._max_rows, turn))
        if turn - since < PROBE_AFTER_TURNS:
            return rows
        del self._limits[bucket]
        return self._max_rows

    def fitted(self, bucket: Bucket) -> None:
        """Note a step that went well."""
        self._has_fitted.add(bucket)
        self._relapses.pop(bucket, None)

    def ran_out(self, bucket: Bucket, rows: int, turn: int, now_s: float) -> None:
        """Note a step of so many rows for which there was not enough memory."""
        if rows > 1:
            self._limits[bucket] = ((rows + 1) // 2, turn)
            return
        self._ran_out_s[bucket] = now_s
        if bucket in self._has_fitted:
            self._relapses[bucket] = self._relapses.get(bucket, 0) + 1

    def is_resting(self, bucket: Bucket, now_s: float) -> bool:
        """Tell whether one row alone did not fit a moment ago."""
        ran_out_s = self._ran_out_s.get(bucket)
        return ran_out_s is not None and now_s - ran_out_s < REST_S

    @property
    def is_worn_out(self) -> bool:
        """Tell whether memory was lost (leaked, fragmented), so that a new process would do better.

        A size that has never fitted is too large here, and would be in a new process.
        """
        return any(count >= WORN_OUT_AFTER for count in self._relapses.values())
