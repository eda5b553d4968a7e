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

from cascade_core.engine.batching import preview_steps
from cascade_core.engine.entries import RunningRow, WaitingTask
from cascade_core.engine.events import EngineStats, Event, Started, TaskHandle
from cascade_core.engine.knee import measure_knee
from cascade_core.engine.row_limits import FittingRows
from cascade_core.engine.stage_guard import StageGuard
from cascade_core.engine.step_runner import StepRunner
from cascade_core.engine.tasks import Tasks
from cascade_core.errors import CascadeError, NotReady, OutOfMemory, SettingsInvalid, StageLost
from cascade_core.stages.base import Row, Stage

logger = logging.getLogger(__name__)

TaskT = TypeVar("TaskT")
RowT = TypeVar("RowT", bound=Row)
ResultT = TypeVar("ResultT")


class StepEngine(Generic[TaskT, RowT, ResultT]):
    """Runs the rows of one stage, up to ``max_rows`` at a time, on a thread of its own.

    Each task gets its events on that thread, in this order: Started, one Stepped per step, then
    exactly one of Finished and Failed. Without Started it failed while it waited. Callbacks must
    not block; what they raise is logged and changes nothing.

    On a GPU two steps may be in flight; events tell what is done. A cancelled task takes part in no
    further step than those in flight: :mod:`cascade_core.engine.step_runner`, which also says what
    happens to a batch that fails.

    When the device or its memory is lost, the engine closes itself, as only a new process helps:
    tasks of the last step or of a step in flight fail with StageLost, as one of them may be the
    cause, and all others with NotReady. If an admission notices the loss, its task fails with
    StageLost, too, as it may be the cause itself.

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
        self._is_idle = True
        self._guard = StageGuard(stage.name, clock, stage.free_memory)
        self._tasks: Tasks[TaskT, RowT] = Tasks(stage.name)
        self._fitting = FittingRows(max_rows)
        self._steps = StepRunner(stage, self._guard, self._tasks, self._fitting, clock)
        self._arrivals = self._knee_rows = 0
        self._busy_s = 0.0

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
            rows_running=len(self._tasks.running),
            rows_waiting=len(self._waiting),
            steps_launched=self._steps.turns,
            row_steps_launched=self._steps.row_steps,
            seconds_per_step=self._steps.seconds_per_step,
            knee_rows=self._knee_rows,
            finished=self._tasks.finished,
            failed=self._tasks.failed,
            cancelled=self._tasks.cancelled,
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
                self._steps.settle()
                # Both take time: a row that was cancelled meanwhile must not run again.
                self._remove_cancelled()
                self._steps.launch_next()
                self._busy_s += self._clock() - started_s
        finally:
            self._fail_what_is_left()
            self._steps.forget()
            self._is_idle = True

    def _wait_for_work(self) -> bool:
        if self._steps.needs_restart:
            logger.error("stage %s needs a new process", self._stage.name)
            return False
        running = self._tasks.running
        with self._changed:
            self._is_idle = not (running or self._waiting)
            self._changed.wait_for(lambda: self._is_closed or running or self._waiting)
            self._guard.progress_at_s = self._clock()
            self._is_idle = False
            return not self._is_closed

    def _remove_cancelled(self) -> None:
        with self._changed:
            waiting = [queued for queued in self._waiting if queued.handle.is_cancelled]
            for queued in waiting:
                self._waiting.remove(queued)
        running = [resident for resident in self._tasks.running if resident.handle.is_cancelled]
        stopped: list[WaitingTask[TaskT] | RunningRow[RowT]] = [*waiting, *running]
        for entry in stopped:
            self._tasks.cancel(entry)

    def _admit_waiting(self) -> None:
        while len(self._tasks.running) < self._max_rows and not self._steps.needs_restart:
            with self._changed:
                if not self._waiting:
                    return
                entry = self._waiting.popleft()
            if entry.handle.is_cancelled:
                self._tasks.cancel(entry)
            else:
                self._admit(entry)

    def _admit(self, entry: WaitingTask[TaskT]) -> None:
        self._tasks.tell(entry, Started(self._clock() - entry.submitted_s))
        try:
            running = self._guard.call(self._admitted, entry)
        except CascadeError as error:
            is_full = isinstance(error, OutOfMemory) and self._tasks.running
            self._tasks.fail(entry, self._full() if is_full else error)
            return
        self._tasks.running.append(running)
        self._steps.end_if_over(running)

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
            last_turn=self._steps.turns,
            step=row.step,
            launched=row.step,
        )

    def _full(self) -> NotReady:
        """Return the error of a row that might fit alone: its size may not be too large."""
        return NotReady(f"a replica of stage {self._stage.name} had no memory beside its images")

    def _fail_what_is_left(self) -> None:
        with self._changed:
            self._is_closed = True
            left: list[WaitingTask[TaskT] | RunningRow[RowT]]
            left = [*self._tasks.running, *self._waiting]
            self._waiting.clear()
        for entry in left:
            self._tasks.fail(entry, self._end_of(entry))

    def _end_of(self, entry: WaitingTask[TaskT] | RunningRow[RowT]) -> CascadeError:
        """Return the error of an entry that the closing engine does not finish."""
        name = self._stage.name
        if not self._steps.needs_restart:
            return NotReady(f"stage {name} is shutting down")
        is_suspect = isinstance(entry, RunningRow) and self._steps.is_suspect(entry)
        if self._guard.is_device_lost and is_suspect:
            return StageLost(f"the device of stage {name} failed")
        return NotReady(f"a replica of stage {name} is replaced")
