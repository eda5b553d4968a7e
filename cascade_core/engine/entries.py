"""A task inside the step engine: first it waits, then it is a row of the stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cascade_core.engine.events import Event, TaskHandle
from cascade_core.stages.base import Row

TaskT = TypeVar("TaskT")
RowT = TypeVar("RowT", bound=Row)


@dataclass(slots=True, eq=False)
class WaitingTask(Generic[TaskT]):
    """A task that the stage has not admitted.

    Attributes:
        emit: gets the task's events.
        previews: how many previews its caller wants.
        submitted_s: by the engine's clock.
    """

    task: TaskT
    handle: TaskHandle
    emit: Callable[[Event], None]
    previews: int
    submitted_s: float


@dataclass(slots=True, eq=False)
class RunningRow(Generic[RowT]):
    """A row of the stage; see :class:`cascade_core.engine.batching.Candidate`.

    Attributes:
        emit: gets the task's events.
        preview_steps: the steps that a preview follows.
        admitted_s: when its admission was over, by the engine's clock.
        step: steps that are done, on the device as well.
        launched: steps that are done or in flight; a failed one may have moved ``row.step`` beyond.
    """

    row: RowT
    handle: TaskHandle
    emit: Callable[[Event], None]
    preview_steps: frozenset[int]
    admitted_s: float
    arrival: int
    last_turn: int
    step: int
    launched: int

    @property
    def bucket(self) -> tuple[int, ...]:
        """The row's bucket."""
        return self.row.bucket

    @property
    def is_launched(self) -> bool:
        """True if no step is left to launch."""
        return self.launched >= self.row.steps

    @property
    def has_output(self) -> bool:
        """True if a preview or the result follows the step that was launched last."""
        return self.is_launched or self.launched in self.preview_steps
