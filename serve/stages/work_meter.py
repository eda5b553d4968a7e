"""Measures how long a unit of work takes one stage replica, over the images it finished lately."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_KEPT = 0.9
"""Share of the sums that remains at each finished image: about the last ten images count."""


class WorkMeter:
    """Divides the time that a replica was busy by the images it finished; for one event loop.

    A replica is busy while its model works, or while images occupy rows without the model, such as
    images whose files are being encoded: the longer of both counts. Images that share steps share
    the time, so the figures hold for the present batch sizes.

    Args:
        busy_s: returns the seconds that the model's thread has worked until now.
        rows: how many images the replica works on at a time.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        busy_s: Callable[[], float],
        rows: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._busy_s = busy_s
        self._rows = rows
        self._clock = clock
        self._counted_s = busy_s()
        self._looked_s = clock()
        self._held_s = 0.0
        self._open_images = 0
        self._open_work = 0.0
        self._seconds = self._work = self._images = 0.0

    @contextmanager
    def image(self, work: float) -> Iterator[Callable[[], None]]:
        """Count an image as open; yields a function to call when the image is finished.

        Args:
            work: see :class:`cascade_core.families.spec.StageSpec`.
        """
        self._change(1, work)
        try:
            yield lambda: self._finish(work)
        finally:
            self._change(-1, -work)

    def stats(self) -> dict[str, float]:
        """Return seconds per unit of work, per image, and for all open work; 0 if unknown."""
        per_work = self._seconds / self._work if self._work else 0.0
        return {
            "seconds_per_work": per_work,
            "seconds_per_image": self._seconds / self._images if self._images else 0.0,
            "queued_s": max(0.0, self._open_work) * per_work,
        }

    def _finish(self, work: float) -> None:
        self._change(0, 0.0)
        busy_s = self._busy_s()
        spent_s = max(busy_s - self._counted_s, self._held_s)
        self._counted_s, self._held_s = busy_s, 0.0
        self._seconds = _KEPT * self._seconds + spent_s
        self._work = _KEPT * self._work + work
        self._images = _KEPT * self._images + 1

    def _change(self, images: int, work: float) -> None:
        now_s = self._clock()
        share = min(self._open_images, self._rows) / self._rows
        self._held_s += share * (now_s - self._looked_s)
        self._looked_s = now_s
        self._open_images += images
        self._open_work += work
