"""What the step engine gives its callers: a handle for each task, its events, the counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cascade_core.errors import CascadeError
from cascade_core.images.pixels import Rgb


@dataclass(frozen=True, slots=True)
class Started:
    """The task left the queue after ``waited_s`` seconds."""

    waited_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """``step`` of ``steps`` is done, on the device too; ``preview`` is there after some of them."""

    step: int
    steps: int
    preview: Rgb | None


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The last event of a task that succeeded.

    Attributes:
        seconds: since its admission was over. Admission is not in them: clients see them, and it is
            shorter for a text that another client has used lately.
    """

    result: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of a task: it failed, it was cancelled, or its engine closed."""

    error: CascadeError


Event = Started | Stepped | Finished | Failed


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What the engine has done so far, for metrics.

    Attributes:
        rows_running, rows_waiting: now.
        steps_launched: forward passes, done or in flight; ``row_steps_launched`` counts each of
            their rows.
        seconds_per_step: of the device, moving average over the last ten or so; 0 before the first.
        knee_rows: up to how many rows it paid to share a step, at the start; 0 if not measured.
        finished, failed, cancelled: tasks by their end.
        stage_s: seconds spent inside the stage, or waiting for its device.
        own_s: seconds the engine's own work and the callbacks took in between.
    """

    rows_running: int
    rows_waiting: int
    steps_launched: int
    row_steps_launched: int
    seconds_per_step: float
    knee_rows: int
    finished: int
    failed: int
    cancelled: int
    stage_s: float
    own_s: float


class TaskHandle:
    """A submitted task, as its caller holds it."""

    def __init__(self) -> None:
        self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        """Return True if the task was cancelled."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Ask the engine to launch no other step of the task; from any thread, repeatedly."""
        self._is_cancelled = True
