"""Calls into a stage: they are timed, and what they raise becomes a CascadeError."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from cascade_core.errors import CascadeError, Internal, OutOfMemory, StageLost
from cascade_core.stages.base import DeviceStep

logger = logging.getLogger(__name__)

ArgumentT = TypeVar("ArgumentT")
AnswerT = TypeVar("AnswerT")

_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "_status_alloc_failed")
_DEVICE_FAILED_TEXTS = (
    "cuda error",
    "hip error",
    "cublas_status_",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
    "device-side assert",
)
"""After these the process cannot use its device any more; memory errors are recognised first."""


class StageGuard:
    """Makes the engine's calls into its stage.

    Args:
        stage_name: for messages.
        clock: seconds, monotonic.
        free_memory: gives cached device memory back; called after a call ran out of memory.

    Attributes:
        total_s: seconds spent inside the stage so far.
        last_s: seconds of the last call.
        progress_at_s: when the last call came back, by ``clock``.
        is_device_lost: True if the device has failed so that only a new process can use it.
    """

    def __init__(
        self, stage_name: str, clock: Callable[[], float], free_memory: Callable[[], None]
    ) -> None:
        self._name = stage_name
        self._clock = clock
        self._free_memory = free_memory
        self.is_device_lost = False
        self.total_s = self.last_s = 0.0
        self.progress_at_s = clock()

    def call(self, method: Callable[[ArgumentT], AnswerT], argument: ArgumentT) -> AnswerT:
        """Call a method of the stage.

        Errors are raised outside the ``except`` block, without their cause: the frames of the cause
        would keep a failed batch's tensors alive while the rows are retried. The log has the cause.

        Raises:
            OutOfMemory: the device or the machine has no memory left; the cache is emptied.
            StageLost: the device failed, in this call or one before it.
            Internal: something unexpected.
            CascadeError: what the stage itself raised.
        """
        started_s = self._clock()
        try:
            return method(argument)
        except BaseException as cause:
            error = self._translated(cause)
        finally:
            self.progress_at_s = self._clock()
            self.last_s = self.progress_at_s - started_s
            self.total_s += self.last_s
        if isinstance(error, OutOfMemory):
            try:
                self._free_memory()
            except Exception:
                logger.exception("stage %s cannot free memory", self._name)
        raise error

    def step_seconds(self, on_device: DeviceStep | None, call_s: float) -> float:
        """Wait for a step; returns how long it took.

        Args:
            on_device: what ``advance`` returned.
            call_s: seconds of ``advance``, in which the step was done if ``on_device`` is None.

        Raises:
            CascadeError: as :meth:`call`.
        """
        if on_device is None:
            return call_s
        return self.call(lambda step: step.wait(), on_device)

    def _translated(self, cause: BaseException) -> CascadeError:
        name = self._name
        if isinstance(cause, CascadeError):
            return type(cause)(cause.message, cause.field)
        if _is_out_of_memory(cause):
            logger.warning("stage %s ran out of memory: %s", name, str(cause))
            return OutOfMemory(f"stage {name} ran out of memory")
        if _is_device_failure(cause):
            self.is_device_lost = True
            logger.error("the device of stage %s failed", name, exc_info=cause)
            return StageLost(f"the device of stage {name} failed")
        logger.error("stage %s failed", name, exc_info=cause)
        return Internal(f"unexpected failure in stage {name}")


def _is_out_of_memory(cause: BaseException) -> bool:
    if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
        return True
    # CPU allocations and some CUDA calls raise a plain RuntimeError.
    text = str(cause).lower()
    return isinstance(cause, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY_TEXTS)


def _is_device_failure(cause: BaseException) -> bool:
    """Return True if the device's context is lost: later calls would fail or answer wrongly."""
    if type(cause).__name__ == "AcceleratorError":
        return True
    text = str(cause).lower()
    return isinstance(cause, RuntimeError) and any(sign in text for sign in _DEVICE_FAILED_TEXTS)
