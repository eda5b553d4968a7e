"""Remembers which image sizes each stage can run, so that larger ones fail at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cascade_core.errors import CannotBeServed, OutOfMemory
from cascade_core.request import GenerationRequest

FORGET_AFTER_S: Final = 600.0
"""After this a size that was too large is tried again: replicas and their GPUs may have changed."""


@dataclass(frozen=True, slots=True)
class _Size:
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class SizeLimits:
    """By stage: the largest size that ran, and the smallest that ran out of memory on every try.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._largest: dict[str, _Size] = {}
        self._too_large: dict[str, tuple[_Size, float]] = {}

    def check(self, stage: str, request: GenerationRequest) -> None:
        """Reject a request that is at least as large as one that was too large recently.

        Raises:
            CannotBeServed: names the size that the stage cannot run and the largest that it can.
        """
        known = self._too_large.get(stage)
        if known is None:
            return
        limit, since_s = known
        if self._clock() - since_s >= FORGET_AFTER_S:
            del self._too_large[stage]
        elif _size(request).pixels >= limit.pixels:
            raise self._too_large_error(stage, _size(request))

    def note_success(self, stage: str, request: GenerationRequest) -> None:
        """Remember that a stage has finished a request."""
        size = _size(request)
        largest = self._largest.get(stage)
        if largest is None or size.pixels > largest.pixels:
            self._largest[stage] = size
        known = self._too_large.get(stage)
        if known is not None and size.pixels >= known[0].pixels:
            del self._too_large[stage]

    def note_out_of_memory(
        self, stage: str, request: GenerationRequest
    ) -> CannotBeServed | OutOfMemory:
        """Remember that a request ran out of memory on every try; returns the job's error.

        If the size or a larger one has run before, only this job fails.
        """
        size, largest = _size(request), self._largest.get(stage)
        if largest is not None and largest.pixels >= size.pixels:
            return OutOfMemory(f"stage {stage.upper()} ran out of memory on every try")
        self._too_large[stage] = (size, self._clock())
        return self._too_large_error(stage, size)

    def _too_large_error(self, stage: str, size: _Size) -> CannotBeServed:
        ran = self._largest.get(stage)
        rest = f"the largest that ran is {ran}" if ran else "none has run yet"
        message = f"no replica of stage {stage.upper()} has enough memory for {size} px; {rest}"
        return CannotBeServed(message, "width")


def _size(request: GenerationRequest) -> _Size:
    return _Size(request.width, request.height)
