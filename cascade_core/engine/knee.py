"""Measures up to how many rows it pays to share a step."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import inf
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
    """Time steps of 1, 2, 4 and so on rows, then of ``max_rows``; returns and logs the knee.

    The engine only reports it: pictures depend on their batches by rounding, so batches must not
    depend on a noisy start.

    Args:
        guard: makes the calls.
        stage: warmed up.
        task: of every row; of one or more steps.
        max_rows: no step has more rows; there are fewer if the time is over before, or the memory.

    Returns:
        As :func:`find_knee`.

    Raises:
        CascadeError: the stage fails.
    """
    step_s: dict[int, float] = {}
    for rows in _row_counts(max_rows):
        if guard.total_s >= BUDGET_S:
            break
        try:
            step_s[rows] = min(_step_s(guard, stage, task, rows) for _ in range(_REPEATS))
        except OutOfMemory:
            step_s[rows] = inf
            break
    knee = find_knee(step_s, max_rows)
    shown = ", ".join(f"{rows}: {seconds * 1e3:.1f}" for rows, seconds in step_s.items())
    pays = f"up to {knee} of {max_rows}" if knee else "not measured to its end"
    logger.info(
        "stage %s: milliseconds of a step, by its images (inf: no memory): %s; sharing pays: %s",
        *(stage.name, shown or "none measured", pays),
    )
    return knee


def find_knee(step_s: Mapping[int, float], max_rows: int) -> int:
    """Return the rows up to which sharing a step pays; 0 if the times end before that shows.

    Args:
        step_s: seconds of a step by its rows; infinite if they do not fit into the memory.
        max_rows: where more rows need not be timed, although they may pay.
    """
    knee = 1
    for rows in sorted(step_s)[1:]:
        if step_s[rows] / rows > (1 - LEAST_GAIN) * step_s[knee] / knee:
            return knee
        knee = rows
    return knee if knee == max_rows else 0


def _row_counts(max_rows: int) -> list[int]:
    powers = [2**exponent for exponent in range(max_rows.bit_length())]
    return [*(rows for rows in powers if rows < max_rows), max_rows]


def _step_s(guard: StageGuard, stage: Stage[TaskT, RowT, ResultT], task: TaskT, rows: int) -> float:
    admitted = [guard.call(stage.admit, task) for _ in range(rows)]
    on_device = guard.call(stage.advance, admitted)
    return guard.step_seconds(on_device, guard.last_s)
