"""Tells tasks their events and counts how they end."""

from __future__ import annotations

import logging
from typing import Any, Generic, TypeVar

from cascade_core.engine.entries import RunningRow, WaitingTask
from cascade_core.engine.events import Event, Failed, Finished
from cascade_core.errors import Cancelled, CascadeError
from cascade_core.stages.base import Row

logger = logging.getLogger(__name__)

TaskT = TypeVar("TaskT")
RowT = TypeVar("RowT", bound=Row)


class Tasks(Generic[TaskT, RowT]):
    """The running rows of one engine, and the ends of all its tasks.

    Args:
        stage_name: for messages.

    Attributes:
        running: the rows that the stage has admitted and that have not ended.
        finished, failed, cancelled: tasks by their end.
    """

    def __init__(self, stage_name: str) -> None:
        self._stage_name = stage_name
        self.running: list[RunningRow[RowT]] = []
        self.finished = self.failed = self.cancelled = 0

    def tell(self, entry: WaitingTask[TaskT] | RunningRow[RowT], event: Event) -> None:
        """Give a task an event; what its callback raises is logged."""
        try:
            entry.emit(event)
        except BaseException:
            logger.exception("a listener of stage %s failed", self._stage_name)

    def finish(self, entry: RunningRow[RowT], result: Any, seconds: float) -> None:
        """End a running task that succeeded."""
        self.running.remove(entry)
        self.finished += 1
        self.tell(entry, Finished(result, seconds))

    def fail(self, entry: WaitingTask[TaskT] | RunningRow[RowT], error: CascadeError) -> None:
        """End a task that failed; if it was cancelled before, that is its end."""
        if entry.handle.is_cancelled:
            self.cancel(entry)
        else:
            self.failed += 1
            self._end(entry, error)

    def cancel(self, entry: WaitingTask[TaskT] | RunningRow[RowT]) -> None:
        """End a task that was cancelled."""
        self.cancelled += 1
        self._end(entry, Cancelled("the work was cancelled"))

    def _end(self, entry: WaitingTask[TaskT] | RunningRow[RowT], error: CascadeError) -> None:
        if isinstance(entry, RunningRow):
            self.running.remove(entry)
        # The frames of a traceback hold rows, and so the device's memory, while the error is kept.
        self.tell(entry, Failed(error.with_traceback(None)))
