"""The work on its way to each stage and how fast it is accepted, for the autoscaling policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from serve.autoscaling.policy import RATE_WINDOWS_S, Arrivals


def open_work_key(stage: str) -> str:
    """Return the name under which a stage's open work is published."""
    return f"open_work_{stage}"


def arriving_key(stage: str, window_s: int) -> str:
    """Return the name under which the work accepted per second is published."""
    return f"arriving_{window_s}s_{stage}"


class Demand:
    """Counts the images of one Jobs replica, from acceptance to their end.

    Args:
        stages: names of the family's stages.
        clock: seconds, monotonic.
    """

    def __init__(self, stages: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._open = dict.fromkeys(stages, 0.0)
        self._arrivals = {stage: Arrivals(clock) for stage in self._open}

    @contextmanager
    def image(self, work: Mapping[str, float]) -> Iterator[Callable[[str], None]]:
        """Count one image; gives what to call when a stage has done its part.

        Args:
            work: of each stage that the image will pass, see
                :class:`cascade_core.families.spec.StageSpec`.
        """
        left = dict(work)
        for stage, amount in left.items():
            self._open[stage] += amount
            self._arrivals[stage].add(amount)

        def done(stage: str) -> None:
            self._open[stage] -= left.pop(stage)

        try:
            yield done
        finally:
            for stage in list(left):
                done(stage)

    def stats(self) -> dict[str, float]:
        """Return open work and its rates of arrival, by published name."""
        found = {open_work_key(stage): max(0.0, work) for stage, work in self._open.items()}
        for stage, arrivals in self._arrivals.items():
            rates = zip(RATE_WINDOWS_S, arrivals.rates(), strict=True)
            found |= {arriving_key(stage, window_s): rate for window_s, rate in rates}
        return found
