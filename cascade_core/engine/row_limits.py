"""Pure policy: how many rows a step may take after the device ran out of memory."""

from __future__ import annotations

from typing import Final

Bucket = tuple[int, ...]

PROBE_AFTER_TURNS: Final = 256
"""Steps after which a bucket gets its full batch again: memory may have become free, and a failed
probe costs only one step in this many."""
RESTART_AFTER: Final = 2
"""The process needs a restart after a single row failed so often in succession, in a bucket where
one row fitted before."""
REFUSE_S: Final = 5.0
"""How long a process refuses rows of a bucket of which one alone did not fit: they go to another
replica if there is one, and otherwise memory has time to become free."""


class FittingRows:
    """The rows that fit into the device's memory, by bucket, as one process has learnt them.

    Args:
        max_rows: the limit of a bucket that has not run out of memory.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._limits: dict[Bucket, tuple[int, int]] = {}
        self._has_fitted: set[Bucket] = set()
        self._relapses: dict[Bucket, int] = {}
        self._ran_out_s: dict[Bucket, float] = {}

    def most(self, bucket: Bucket, turn: int) -> int:
        """Return how many rows the engine's step number ``turn`` may take, at least 1."""
        rows, since = self._limits.get(bucket, (self._max_rows, turn))
        if turn - since < PROBE_AFTER_TURNS:
            return rows
        del self._limits[bucket]
        return self._max_rows

    def fitted(self, bucket: Bucket) -> None:
        """Note that a step succeeded."""
        self._has_fitted.add(bucket)
        self._relapses.pop(bucket, None)

    def ran_out(self, bucket: Bucket, rows: int, turn: int, now_s: float) -> None:
        """Note that a step of so many rows ran out of memory."""
        if rows > 1:
            self._limits[bucket] = ((rows + 1) // 2, turn)
            return
        self._ran_out_s[bucket] = now_s
        if bucket in self._has_fitted:
            self._relapses[bucket] = self._relapses.get(bucket, 0) + 1

    def is_refused(self, bucket: Bucket, now_s: float) -> bool:
        """Return True if one row alone did not fit within the last ``REFUSE_S``."""
        ran_out_s = self._ran_out_s.get(bucket)
        return ran_out_s is not None and now_s - ran_out_s < REFUSE_S

    @property
    def needs_restart(self) -> bool:
        """Return True if memory was lost (leaked, fragmented) and a new process would do better.

        A bucket that has never fitted is too large for this device, in a new process as well.
        """
        return any(count >= RESTART_AFTER for count in self._relapses.values())
