"""Seconds of a step by the number of requests that share it: what batching gains at each size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.gpu.timing import Clock
from bench.gpu.variants import Ours
from bench.stats import summary
from cascade_core.request import GenerationRequest

WARM_UP = 2


def tasks(ours: Ours, request: GenerationRequest, steps: int) -> dict[str, tuple[Any, Any]]:
    """Return Stages C and B with what they admit, by name.

    Args:
        ours: the stages.
        request: its size and guidance count; with guidance a request is two rows of a U-Net.
        steps: to measure.
    """
    stage_c, stage_b = ours.pipeline.stages["c"], ours.pipeline.stages["b"]
    row = stage_c.admit(stage_c.make_task(None, replace(request, steps=1)))
    stage_c.advance([row])
    steps += WARM_UP
    longer = replace(request, steps=steps, decoder_steps=steps)
    return {
        "Stage C": (stage_c, stage_c.make_task(None, longer)),
        "Stage B": (stage_b, stage_b.make_task(stage_c.result(row), longer)),
    }


def measure(stage: Any, task: Any, count: int, clock: Clock) -> dict[str, Any]:
    """Return the seconds of each step of so many equal requests."""
    rows = [stage.admit(task) for _ in range(count)]
    marks = []
    for _ in range(rows[0].steps):
        stage.advance(rows)
        marks.append(clock.mark())
    return {"step_s": summary(clock.seconds_between(marks[WARM_UP - 1 :]))}
