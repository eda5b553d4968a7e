"""Reads the schedule of a flow model."""

from __future__ import annotations

from math import inf
from typing import Final

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.layout import as_unavailable, read_json
from cascade_core.errors import ModelUnavailable
from cascade_core.sampling.flow_schedule import FlowSchedule

SCHEDULER_CLASS: Final = "FlowMatchEulerDiscreteScheduler"


def load_flow_schedule(checkpoint: Checkpoint) -> FlowSchedule:
    """Read where the steps lie.

    Raises:
        ModelUnavailable: the model was trained for another kind of scheduler, or its shift is none.
    """
    path = checkpoint.component("scheduler") / "scheduler_config.json"
    config = read_json(path)
    if config.get("_class_name") != SCHEDULER_CLASS:
        raise ModelUnavailable(f"{path} must be a {SCHEDULER_CLASS}: no other one is supported")
    with as_unavailable(path):
        schedule = FlowSchedule(float(config.get("shift", 1.0)))
        if not 0 < schedule.shift < inf:
            raise ValueError("shift must be more than 0")
    return schedule
