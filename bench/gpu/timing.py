"""Times on a device's own clock, in turns, and how often work waits for the GPU."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeVar

import torch

ResultT = TypeVar("ResultT")


class Clock:
    """Marks points in a device's work: CUDA events on a GPU, the time on a CPU.

    A mark does not wait, so the host can run ahead of the GPU as it does without marks.

    Attributes:
        is_cuda: True if the device is a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.is_cuda = device.type == "cuda"

    def mark(self) -> Any:
        """Return the point that the device's work has reached when all before it is done."""
        if not self.is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def seconds_between(self, marks: list[Any]) -> list[float]:
        """Wait for the last mark and return the seconds from each mark to the next."""
        if not self.is_cuda:
            return [after - before for before, after in pairwise(marks)]
        torch.cuda.synchronize()
        return [before.elapsed_time(after) / 1e3 for before, after in pairwise(marks)]

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds that a piece of work takes on the device."""
        before = self.mark()
        work()
        return self.seconds_between([before, self.mark()])[0]

    def generator(self, seed: int) -> torch.Generator:
        """Return random numbers drawn on the device, the fastest that diffusers can use."""
        return torch.Generator(self._device).manual_seed(seed)


def in_turns(works: Mapping[str, Callable[[], ResultT]], repeats: int) -> dict[str, list[ResultT]]:
    """Do each piece of work once before the next repeat, so that drift hits all alike."""
    results: dict[str, list[ResultT]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            results[name].append(work())
    return results


def count_waits(work: Callable[[], object]) -> int:
    """Return how often a piece of work waits for the GPU, by torch's own account."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in caught)
