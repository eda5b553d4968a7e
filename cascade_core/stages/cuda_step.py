"""A step that a CUDA device does while the stage's thread goes on."""

from __future__ import annotations

from collections.abc import Callable

import torch


class CudaStep:
    """See :class:`cascade_core.stages.base.DeviceStep`.

    Args:
        begin: recorded before the step's work was launched.
        end: recorded after it; both of one stream.
    """

    def __init__(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> None:
        self._begin = begin
        self._end = end

    def wait(self) -> float:
        """Wait until the device has done the step; returns its seconds between both events."""
        self._end.synchronize()
        return float(self._begin.elapsed_time(self._end)) / 1e3


def launch(work: Callable[[], None], device: torch.device) -> CudaStep | None:
    """Do the work of a step.

    Returns:
        What waits for the work on a CUDA device; None on another device, where it is done.
    """
    if device.type != "cuda":
        work()
        return None
    stream = torch.cuda.current_stream(device)
    # A blocking event lets the waiting thread sleep; another one keeps a CPU core busy.
    begin, end = (
        torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    begin.record(stream)
    work()
    end.record(stream)
    return CudaStep(begin, end)
