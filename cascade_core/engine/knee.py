"""Measures up to how many rows it pays to share a step."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, TypeVar

from cascade_core.engine.stage_guard import StageGuard
from cascade_core.errors import OutOfMemory
from cascade_core.stages.base import Row, Stage

logger = logging.getLogger(__name__)

TaskT = TypeVar("TaskT")
RowT = TypeVar("RowT", bound=Row)
ResultT = TypeVar("ResultT")

LEAST_GAIN: Final = 0.05
"""More rows pay while they make the time per row shorter by this part."""
BUDGET_S: Final = 5.0
"""No further step is timed once the stage has worked for so long, its warm-up included."""
_REPEATS: Final = 3


def measure_knee(
    guard: StageGuard, stage: Stage[TaskT, RowT, ResultT], task: TaskT, max_rows: int
) -> int:
    """Time steps of 1, 2, 4 and so on rows; logs the times and returns their knee.

    The engine only reports it: pictures depend on their batches by rounding, so batches must not
    depend on a noisy start.

    Args:
        guard: makes the calls.
        stage: warmed up.
        task: of every row; of one or more steps.
        max_rows: no step has more rows; there are fewer if the time is over before, or the memory.

    Raises:
        CascadeError: the stage fails.
    """
    step_s: dict[int, float] = {}
    rows = 1
    while rows <= max_rows and guard.total_s < BUDGET_S:
        try:
            step_s[rows] = min(_step_s(guard, stage, task, rows) for _ in range(_REPEATS))
        except OutOfMemory:
            break
        rows *= 2
    knee = find_knee(step_s)
    shown = ", ".join(f"{rows}: {seconds * 1e3:.1f}" for rows, seconds in step_s.items())
    logger.info(
        "stage %s: milliseconds of a step, by its images: %s; sharing pays up to %d of %d",
        *(stage.name, shown or "not measured", knee, max_rows),
    )
    return knee


def find_knee(step_s: Mapping[int, float]) -> int:
    """Return the rows up to which sharing a step pays; 1 if no step was timed.

    Args:
        step_s: seconds of a step by its rows.
    """
    knee = 1
    for rows in sorted(step_s)[1:]:
        if step_s[rows] / rows > (1 - LEAST_GAIN) * step_s[knee] / knee:
            break
        knee = rows
    return knee


def _step_s(guard: StageGuard, stage: Stage[TaskT, RowT, ResultT], task: TaskT, rows: int) -> float:
    admitted = [guard.call(stage.admit, task) for _ in range(rows)]
    guard.call(stage.advance, admitted)
    return guard.last_s
