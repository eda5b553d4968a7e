"""Launches the steps of all running rows, and tells the rows when the device has done them.

A stage on a CPU has done a step when its ``advance`` returns. A GPU goes on meanwhile, so the next
step is launched before the last one is done, and the GPU waits for no Python code in between.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from cascade_core.engine.batching import BucketTurns
from cascade_core.engine.entries import RunningRow
from cascade_core.engine.events import Stepped
from cascade_core.engine.row_limits import FittingRows
from cascade_core.engine.stage_guard import StageGuard
from cascade_core.engine.tasks import Tasks
from cascade_core.errors import CascadeError, Internal, OutOfMemory
from cascade_core.images.pixels import Rgb
from cascade_core.stages.base import DeviceStep, Row, Stage

logger = logging.getLogger(__name__)

RowT = TypeVar("RowT", bound=Row)

MAX_IN_FLIGHT: Final = 2
"""Steps in flight: launched and not done. The device is at one and has the next one at hand; with
more, cancelled rows would leave later."""
_NEWEST_STEP_WEIGHT: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _LaunchedStep(Generic[RowT]):
    """A step in flight.

    Attributes:
        entries: its rows.
        on_device: waits for it; None if it was done when ``advance`` returned.
        call_s: seconds of ``advance``.
    """

    entries: list[RunningRow[RowT]]
    on_device: DeviceStep | None
    call_s: float


class StepRunner(Generic[RowT]):
    """Runs the steps of one engine, on the engine's thread.

    At most :data:`MAX_IN_FLIGHT` steps are in flight. After a step that a preview or a result
    follows, nothing is launched before it is done: the device does everything in order, so what is
    fetched would wait for the later step.

    Args:
        stage: of the engine.
        guard: makes the calls into the stage.
        tasks: holds the running rows and ends them.
        fitting: says how many rows fit.
        clock: seconds, monotonic.

    Attributes:
        turns: steps launched so far; ``row_steps`` counts each of their rows.
        seconds_per_step: moving average of those that are done; 0 before the first.
    """

    def __init__(
        self,
        stage: Stage[Any, RowT, Any],
        guard: StageGuard,
        tasks: Tasks[Any, RowT],
        fitting: FittingRows,
        clock: Callable[[], float],
    ) -> None:
        self._stage = stage
        self._guard = guard
        self._tasks = tasks
        self._fitting = fitting
        self._clock = clock
        self._bucket_turns = BucketTurns()
        self._in_flight: deque[_LaunchedStep[RowT]] = deque()
        self.turns = self.row_steps = 0
        self.seconds_per_step = 0.0

    @property
    def needs_restart(self) -> bool:
        """True if only a new process can go on."""
        return self._guard.is_device_lost or self._fitting.needs_restart

    def launch_next(self) -> None:
        """Launch the next step; if there is none, wait for those in flight."""
        rows = [entry for entry in self._tasks.running if not entry.is_launched]
        entries = self._bucket_turns.next_rows(rows)
        if not entries:
            self.settle(0)
        elif not self.needs_restart:
            most = self._fitting.most(entries[0].bucket, self.turns)
            self._advance_together(entries[:most])

    def settle(self, most: int = MAX_IN_FLIGHT - 1) -> None:
        """Wait until at most so many steps are in flight, and tell the rows of the others."""
        while len(self._in_flight) > most and not self.needs_restart:
            self._settle_oldest()

    def forget(self) -> None:
        """Forget the steps in flight, and with them their rows."""
        self._in_flight.clear()

    def is_suspect(self, entry: RunningRow[RowT]) -> bool:
        """Return True if a row may have made the device fail.

        Devices report failures late: the rows of every step in flight may be the cause. If no step
        is in flight, those of the last one may be, as its preview can be the first to notice.
        """
        if self._in_flight:
            return any(entry in step.entries for step in self._in_flight)
        return entry.last_turn == self.turns

    def end_if_over(self, entry: RunningRow[RowT]) -> None:
        """End a row that has done all its steps, or that was cancelled."""
        if entry.handle.is_cancelled:
            self._tasks.cancel(entry)
        elif entry.step >= entry.row.steps:
            try:
                result = self._guard.call(self._stage.result, entry.row)
            except CascadeError as error:
                self._tasks.fail(entry, error)
                return
            self._tasks.finish(entry, result, self._clock() - entry.admitted_s)

    def _advance_together(self, entries: list[RunningRow[RowT]]) -> None:
        """Launch one step of a batch; a batch that fails is tried again in smaller ones.

            the batch was launched              every row has taken its step
            it failed, and is one row           the row fails
            it failed, and the engine must end  every row fails
            it ran out of memory                try its halves, one after the other
            it failed otherwise                 try its rows, one by one

        Args:
            entries: rows of one bucket, at least one.
        """
        error = self._launch(entries)
        if error is None:
            return
        if len(entries) == 1 or self.needs_restart:
            for entry in entries:
                self._tasks.fail(entry, error)
            return
        size = (len(entries) + 1) // 2 if isinstance(error, OutOfMemory) else 1
        for start in range(0, len(entries), size):
            self._try_again(entries[start : start + size], error)

    def _try_again(self, entries: list[RunningRow[RowT]], error: CascadeError) -> None:
        """Launch a part of a batch that failed, with nothing in flight.

        Rows that cannot be tried again fail with the batch: those that were cancelled, and those
        that its failed step has moved on.
        """
        self.settle(0)
        if self.needs_restart:
            return
        left = [entry for entry in entries if entry in self._tasks.running]
        for entry in left:
            if entry.row.step != entry.launched or entry.handle.is_cancelled:
                self._tasks.fail(entry, error)
        left = [entry for entry in left if entry in self._tasks.running]
        if left:
            self._advance_together(left)

    def _launch(self, entries: list[RunningRow[RowT]]) -> CascadeError | None:
        self.turns += 1
        self.row_steps += len(entries)
        for entry in entries:
            entry.last_turn = self.turns
        bucket = entries[0].bucket
        try:
            on_device = self._guard.call(self._stage.advance, [entry.row for entry in entries])
        except CascadeError as error:
            if isinstance(error, OutOfMemory):
                self._fitting.ran_out(bucket, len(entries), self.turns, self._clock())
            return error
        self._fitting.fitted(bucket)
        self._in_flight.append(_LaunchedStep(entries, on_device, self._guard.last_s))
        for entry in entries:
            entry.launched += 1
            if entry.row.step != entry.launched:
                uncounted = Internal(f"stage {self._stage.name} did not count its step")
                self._tasks.fail(entry, uncounted)
        if on_device is None or any(entry.has_output for entry in entries):
            self.settle(0)
        return None

    def _settle_oldest(self) -> None:
        step = self._in_flight[0]
        try:
            seconds = self._guard.step_seconds(step.on_device, step.call_s)
        except CascadeError as error:
            if self._guard.is_device_lost:
                return  # it stays in flight: see is_suspect
            self._in_flight.popleft()
            for entry in step.entries:
                if entry in self._tasks.running:
                    self._tasks.fail(entry, error)
            return
        self._in_flight.popleft()
        drift = seconds - self.seconds_per_step
        self.seconds_per_step += drift * (_NEWEST_STEP_WEIGHT if self.seconds_per_step else 1.0)
        for entry in step.entries:
            if entry in self._tasks.running:
                self._count(entry)

    def _count(self, entry: RunningRow[RowT]) -> None:
        entry.step += 1
        if not entry.handle.is_cancelled:
            self._tasks.tell(entry, Stepped(entry.step, entry.row.steps, self._preview(entry)))
        self.end_if_over(entry)

    def _preview(self, entry: RunningRow[RowT]) -> Rgb | None:
        if entry.step not in entry.preview_steps:
            return None
        try:
            return self._guard.call(self._stage.preview, entry.row)
        except CascadeError as error:
            logger.warning("stage %s has no preview to show: %s", self._stage.name, error)
            return None
