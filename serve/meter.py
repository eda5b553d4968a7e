"""What a unit of work costs one stage replica, measured on what it finished lately."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_KEPT = 0.9
"""Of the sums, per finished image: about the last ten count."""


class WorkMeter:
    """Sets the time a replica was busy against the images it finished; for one event loop.

    Images that share steps share the time, so the figures hold for the batches there are now.

    Args:
        busy_s: seconds that the model's thread has worked until now.
    """

    def __init__(self, busy_s: Callable[[], float]) -> None:
        self._busy_s = busy_s
        self._counted_s = busy_s()
        self._open_work = 0.0
        self._seconds = self._work = self._images = 0.0

    @contextmanager
    def image(self, work: float) -> Iterator[Callable[[], None]]:
        """Count an image as open; gives what to call when it is finished.

        Args:
            work: see `serve.line.stage_work`.
        """

        def finished() -> None:
            busy_s = self._busy_s()
            self._seconds = _KEPT * self._seconds + busy_s - self._counted_s
            self._work = _KEPT * self._work + work
            self._images = _KEPT * self._images + 1
            self._counted_s = busy_s

        self._open_work += work
        try:
            yield finished
        finally:
            self._open_work -= work

    def stats(self) -> dict[str, float]:
        """Return seconds per unit of work and per image, and of all open work; 0 if unknown."""
        per_work = self._seconds / self._work if self._work else 0.0
        return {
            "seconds_per_work": per_work,
            "seconds_per_image": self._seconds / self._images if self._images else 0.0,
            "queued_s": max(0.0, self._open_work) * per_work,
        }
