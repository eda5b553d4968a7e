"""Measures, for the autoscaling policy, each stage's open work and how fast new work arrives."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from serve.autoscaling.policy import RATE_WINDOWS_S


def open_work_key(stage: str) -> str:
    """Return the name under which a stage's open work is published."""
    return f"open_work_{stage}"


def arriving_key(stage: str, window_s: int) -> str:
    """Return the name under which a stage's rate of arriving work is published."""
    return f"arriving_{window_s}s_{stage}"


class Arrivals:
    """Work accepted per second, over each of ``RATE_WINDOWS_S``.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_second: deque[list[float]] = deque()

    def add(self, work: float) -> None:
        """Count work that was accepted now."""
        second = math.floor(self._clock())
        if not self._by_second or self._by_second[-1][0] != second:
            self._by_second.append([second, 0.0])
        self._by_second[-1][1] += work

    def rates(self) -> tuple[float, ...]:
        """Return work per second over each window."""
        now_s = self._clock()
        while self._by_second and self._by_second[0][0] <= now_s - max(RATE_WINDOWS_S):
            self._by_second.popleft()
        return tuple(
            sum(work for second, work in self._by_second if second > now_s - window_s) / window_s
            for window_s in RATE_WINDOWS_S
        )


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
        """Count one image in this block; yields a function to call when a stage is done.

        Args:
            work: the image's work at each stage that it passes, by stage; see
                :class:`cascade_core.families.spec.StageSpec`.
        """
        left = dict(work)
        for stage, amount in left.items():
            self._open[stage] += amount
            self._arrivals[stage].add(amount)

        def done(stage: str) -> None:
            self._open[stage] -= left.pop(stage, 0.0)

        try:
            yield done
        finally:
            for stage in list(left):
                done(stage)

    def stats(self) -> dict[str, float]:
        """Return the open work and the rates of arriving work, by published name."""
        # Sums of floats leave 1e-16 behind, for which a stage would keep a replica for ever.
        found = {
            open_work_key(stage): max(0.0, round(work, 9)) for stage, work in self._open.items()
        }
        for stage, arrivals in self._arrivals.items():
            rates = zip(RATE_WINDOWS_S, arrivals.rates(), strict=True)
            found |= {arriving_key(stage, window_s): rate for window_s, rate in rates}
        return found
