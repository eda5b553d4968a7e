"""The step engine: one thread owns a stage and lets rows join, leave and stop between steps.

Pure Python around :class:`cascade_core.stages.base.Stage`: it knows no torch, so tests drive it
with tiny stages, and only the stage touches the model.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from cascade_core.engine.batching import BucketTurns, preview_steps
from cascade_core.engine.entries import RunningRow, WaitingTask
from cascade_core.engine.events import (
    EngineStats,
    Event,
    Failed,
    Finished,
    Started,
    Stepped,
    TaskHandle,
)
from cascade_core.engine.knee import measure_knee
from cascade_core.engine.row_limits import FittingRows
from cascade_core.engine.stage_guard import StageGuard
from cascade_core.errors import (
    Cancelled,
    CascadeError,
    Internal,
    NotReady,
    OutOfMemory,
    SettingsInvalid,
    StageLost,
)
from cascade_core.images.pixels import Rgb
from cascade_core.stages.base import Row, Stage

logger = logging.getLogger(__name__)

TaskT = TypeVar("TaskT")
RowT = TypeVar("RowT", bound=Row)
ResultT = TypeVar("ResultT")

_NEWEST_STEP_WEIGHT = 0.1


class StepEngine(Generic[TaskT, RowT, ResultT]):
    """Runs the rows of one stage, up to ``max_rows`` at a time, on a thread of its own.

    Each task gets its events on that thread, in this order: Started, one Stepped per step, then
    exactly one of Finished and Failed. Without Started it failed while it waited. Callbacks must
    not block; what they raise is logged and changes nothing.

    When the device or its memory is lost, the engine closes itself, as only a new process helps:
    tasks of the last step fail with StageLost, as one of them may be the cause, and all others with
    NotReady. :meth:`_advance_together` says what happens to a batch that fails.

    Args:
        stage: loaded; from ``start`` on only the engine may use it.
        max_rows: rows resident at once; 1 keeps requests strictly apart.
        clock: seconds, monotonic.

    Raises:
        SettingsInvalid: ``max_rows`` is below 1.
    """

    def __init__(
        self,
        stage: Stage[TaskT, RowT, ResultT],
        max_rows: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if max_rows < 1:
            raise SettingsInvalid(f"max_rows must be at least 1, got {max_rows}")
        self._stage = stage
        self._max_rows = max_rows
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name=f"stage-{stage.name}", daemon=True)
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_warm = threading.Event()
        self._warm_up_error: CascadeError | None = None
        self._waiting: deque[WaitingTask[TaskT]] = deque()
        self._running: list[RunningRow[RowT]] = []
        self._is_idle = True
        self._guard = StageGuard(stage.name, clock, stage.free_memory)
        self._bucket_turns = BucketTurns()
        self._fitting = FittingRows(max_rows)
        self._arrivals = self._turns = self._row_steps = 0
        self._finished = self._failed = self._cancelled = 0
        self._seconds_per_step = self._busy_s = 0.0
        self._knee_rows = 0

    def start(self) -> None:
        """Start the thread, warm the stage up on it and return when it is ready; call it once.

        Raises:
            CascadeError: the warm-up failed; the engine is closed then.
        """
        self._thread.start()
        self._is_warm.wait()
        if self._warm_up_error is not None:
            raise self._warm_up_error

    def close(self, timeout_s: float = 30.0) -> None:
        """Stop after the current step; tasks that have not finished by then fail with NotReady.

        Args:
            timeout_s: how long to wait for that step.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.ident is None:
            self._fail_what_is_left()
        elif threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def submit(self, task: TaskT, emit: Callable[[Event], None], previews: int = 0) -> TaskHandle:
        """Queue a task.

        Args:
            task: what the stage's ``admit`` takes.
            emit: gets the task's events on the engine's thread.
            previews: how many pictures to show on the way.

        Raises:
            NotReady: the engine is closed.
        """
        handle = TaskHandle()
        with self._changed:
            if self._is_closed:
                raise NotReady(f"this replica of stage {self._stage.name} takes no more work")
            self._waiting.append(WaitingTask(task, handle, emit, previews, self._clock()))
            self._changed.notify_all()
        return handle

    def is_alive(self) -> bool:
        """Return True if the thread runs: not before ``start``, nor after it is closed."""
        return self._thread.is_alive() and not self._is_closed

    def stats(self) -> EngineStats:
        """Return the counters; from any thread."""
        return EngineStats(
            rows_running=len(self._running),
            rows_waiting=len(self._waiting),
            steps_done=self._turns,
            row_steps_done=self._row_steps,
            seconds_per_step=self._seconds_per_step,
            knee_rows=self._knee_rows,
            finished=self._finished,
            failed=self._failed,
            cancelled=self._cancelled,
            stage_s=self._guard.total_s,
            own_s=max(0.0, self._busy_s - self._guard.total_s),
        )

    def last_progress_age_s(self) -> float:
        """Return for how long the stage has not answered; 0 while the engine is idle."""
        return 0.0 if self._is_idle else self._clock() - self._guard.progress_at_s

    def _warm_up(self) -> None:
        try:
            task = self._guard.call(lambda stage: stage.warm_up(), self._stage)
            if task is not None and self._max_rows > 1:
                self._knee_rows = measure_knee(self._guard, self._stage, task, self._max_rows)
        except CascadeError as error:
            self._warm_up_error = error
            self._is_closed = True
        self._is_warm.set()

    def _run(self) -> None:
        try:
            self._warm_up()
            self._busy_s = self._guard.total_s
            while self._wait_for_work():
                started_s = self._clock()
                self._remove_cancelled()
                self._admit_waiting()
                self._step()
                self._busy_s += self._clock() - started_s
        finally:
            self._fail_what_is_left()
            self._is_idle = True

    def _needs_restart(self) -> bool:
        return self._guard.is_device_lost or self._fitting.needs_restart

    def _wait_for_work(self) -> bool:
        if self._needs_restart():
            logger.error("stage %s needs a new process", self._stage.name)
            return False
        with self._changed:
            self._is_idle = not (self._running or self._waiting)
            self._changed.wait_for(lambda: self._is_closed or self._running or self._waiting)
            self._guard.progress_at_s = self._clock()
            self._is_idle = False
            return not self._is_closed

    def _remove_cancelled(self) -> None:
        with self._changed:
            waiting = [queued for queued in self._waiting if queued.handle.is_cancelled]
            for queued in waiting:
                self._waiting.remove(queued)
        running = [resident for resident in self._running if resident.handle.is_cancelled]
        stopped: list[WaitingTask[TaskT] | RunningRow[RowT]] = [*waiting, *running]
        for entry in stopped:
            self._fail(entry, _cancelled())

    def _admit_waiting(self) -> None:
        while len(self._running) < self._max_rows and not self._needs_restart():
            with self._changed:
                if not self._waiting:
                    return
                entry = self._waiting.popleft()
            if entry.handle.is_cancelled:
                self._fail(entry, _cancelled())
            else:
                self._admit(entry)

    def _admit(self, entry: WaitingTask[TaskT]) -> None:
        self._emit(entry, Started(self._clock() - entry.submitted_s))
        try:
            running = self._guard.call(self._admitted, entry)
        except CascadeError as error:
            is_full = isinstance(error, OutOfMemory) and self._running
            self._fail(entry, self._full() if is_full else error)
            return
        self._running.append(running)
        self._end_if_over(running)

    def _admitted(self, entry: WaitingTask[TaskT]) -> RunningRow[RowT]:
        row = self._stage.admit(entry.task)
        admitted_s = self._clock()
        if self._fitting.is_refused(row.bucket, admitted_s):
            raise NotReady(f"a replica of stage {self._stage.name} had no memory for this size")
        self._arrivals += 1
        return RunningRow(
            row=row,
            handle=entry.handle,
            emit=entry.emit,
            preview_steps=preview_steps(row.steps, entry.previews),
            admitted_s=admitted_s,
            arrival=self._arrivals,
            last_turn=self._turns,
            step=row.step,
        )

    def _full(self) -> NotReady:
        """Return the error of a row that might fit alone: its size may not be too large."""
        return NotReady(f"a replica of stage {self._stage.name} had no memory beside its images")

    def _step(self) -> None:
        # Admission takes time: a row that was cancelled meanwhile must not run again.
        self._remove_cancelled()
        entries = self._bucket_turns.next_rows(self._running)
        if entries:
            most = self._fitting.most(entries[0].bucket, self._turns)
            self._advance_together(entries[:most])

    def _advance_together(
        self, entries: list[RunningRow[RowT]], before: CascadeError | None = None
    ) -> None:
        """Do one step of a batch; a batch that fails is tried again in smaller ones.

            the batch succeeded                 every row has done its step
            it failed, and is one row           the row fails
            it failed, and the engine must end  every row fails
            it ran out of memory                try its halves, one after the other
            it failed otherwise                 try its rows, one by one

        Rows that cannot be tried again fail with the larger batch: those that were cancelled, and
        those that its failed step has moved on.

        Args:
            entries: rows of one bucket.
            before: how the larger batch of these rows failed; None for the first try.
        """
        if self._needs_restart():
            return
        if before is not None:
            entries = self._still_as_before(entries, before)
        error = self._advance(entries) if entries else None
        if error is None or len(entries) == 1 or self._needs_restart():
            for entry in entries:
                self._settle(entry, error)
            return
        size = (len(entries) + 1) // 2 if isinstance(error, OutOfMemory) else 1
        for start in range(0, len(entries), size):
            self._advance_together(entries[start : start + size], error)

    def _still_as_before(
        self, entries: list[RunningRow[RowT]], error: CascadeError
    ) -> list[RunningRow[RowT]]:
        """Return the rows that a failed step has left as they were; the others fail."""
        for entry in entries:
            if entry.row.step != entry.step or entry.handle.is_cancelled:
                self._settle(entry, error)
        return [entry for entry in entries if entry in self._running]

    def _advance(self, entries: list[RunningRow[RowT]]) -> CascadeError | None:
        self._turns += 1
        self._row_steps += len(entries)
        for entry in entries:
            entry.last_turn = self._turns
        try:
            self._guard.call(self._stage.advance, [entry.row for entry in entries])
        except CascadeError as error:
            if isinstance(error, OutOfMemory):
                bucket, now_s = entries[0].bucket, self._clock()
                self._fitting.ran_out(bucket, len(entries), self._turns, now_s)
            return error
        self._fitting.fitted(entries[0].bucket)
        drift = self._guard.last_s - self._seconds_per_step
        self._seconds_per_step += drift * (_NEWEST_STEP_WEIGHT if self._seconds_per_step else 1.0)
        return None

    def _settle(self, entry: RunningRow[RowT], error: CascadeError | None) -> None:
        if error is None and entry.row.step != entry.step + 1:
            error = Internal(f"stage {self._stage.name} did not count its step")
        if error is not None:
            self._fail(entry, _cancelled() if entry.handle.is_cancelled else error)
            return
        entry.step += 1
        if not entry.handle.is_cancelled:
            self._emit(entry, Stepped(entry.step, entry.row.steps, self._preview(entry)))
        self._end_if_over(entry)

    def _preview(self, entry: RunningRow[RowT]) -> Rgb | None:
        if entry.step not in entry.preview_steps:
            return None
        try:
            return self._guard.call(self._stage.preview, entry.row)
        except CascadeError as error:
            logger.warning("stage %s has no preview to show: %s", self._stage.name, error)
            return None

    def _end_if_over(self, entry: RunningRow[RowT]) -> None:
        if entry.handle.is_cancelled:
            self._fail(entry, _cancelled())
        elif entry.step >= entry.row.steps:
            try:
                result = self._guard.call(self._stage.result, entry.row)
            except CascadeError as error:
                self._fail(entry, error)
                return
            self._running.remove(entry)
            self._finished += 1
            self._emit(entry, Finished(result, self._clock() - entry.admitted_s))

    def _fail(self, entry: WaitingTask[TaskT] | RunningRow[RowT], error: CascadeError) -> None:
        if isinstance(entry, RunningRow):
            self._running.remove(entry)
        if isinstance(error, Cancelled):
            self._cancelled += 1
        else:
            self._failed += 1
        # The frames of a traceback hold rows, and so the device's memory, while the error is kept.
        self._emit(entry, Failed(error.with_traceback(None)))

    def _fail_what_is_left(self) -> None:
        with self._changed:
            self._is_closed = True
            left: list[WaitingTask[TaskT] | RunningRow[RowT]] = [*self._running, *self._waiting]
            self._waiting.clear()
        for entry in left:
            self._fail(entry, _cancelled() if entry.handle.is_cancelled else self._end_of(entry))

    def _end_of(self, entry: WaitingTask[TaskT] | RunningRow[RowT]) -> CascadeError:
        """Return the error of an entry that the closing engine does not finish."""
        name = self._stage.name
        if not self._needs_restart():
            return NotReady(f"stage {name} is shutting down")
        # Devices report failures late, so they may show only when a preview is fetched.
        was_in_last_step = isinstance(entry, RunningRow) and entry.last_turn == self._turns
        if self._guard.is_device_lost and was_in_last_step:
            return StageLost(f"the device of stage {name} failed")
        return NotReady(f"a replica of stage {name} is replaced")

    def _emit(self, entry: WaitingTask[TaskT] | RunningRow[RowT], event: Event) -> None:
        try:
            entry.emit(event)
        except BaseException:
            logger.exception("a listener of stage %s failed", self._stage.name)


def _cancelled() -> Cancelled:
    return Cancelled("the work was cancelled")
