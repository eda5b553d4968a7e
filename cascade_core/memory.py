"""Pure policy: how many rows a step may take after the device ran out of memory."""

from __future__ import annotations

from typing import Final

Bucket = tuple[int, ...]

PROBE_AFTER_TURNS: Final = 256
"""Steps after which a bucket gets its full batch again: memory may have become free, and a probe
in vain costs one step in so many."""
WORN_OUT_AFTER: Final = 2
"""Times in a row that one row alone may not fit where one has fitted before."""


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

    def ran_out(self, bucket: Bucket, rows: int, turn: int) -> None:
        """Note a step of so many rows for which there was not enough memory."""
        if rows > 1:
            self._limits[bucket] = ((rows + 1) // 2, turn)
        elif bucket in self._has_fitted:
            self._relapses[bucket] = self._relapses.get(bucket, 0) + 1

    @property
    def is_worn_out(self) -> bool:
        """Tell whether memory was lost (leaked, fragmented), so that a new process would do better.

        A size that has never fitted is too large here, and would be in a new process.
        """
        return any(count >= WORN_OUT_AFTER for count in self._relapses.values())
