"""Computes how many replicas each stage gets: a pure policy, used by Ray Serve and the simulator.

The queue of a stage reacts too late: Stage B's queue fills only after Stage C has been scaled up
and has caught up. So the policy sizes all stages at once, from the work that the service accepts.
The family defines the units of work. Each stage measures how long one unit takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascade_core.errors import SettingsInvalid

RATE_WINDOWS_S = (10, 60, 300)
"""The shortest window shows a burst within seconds, the middle one bridges the time between bursts,
and the longest one averages a noisy stream."""
POOLING_LOAD = 1.5
"""Above so many busy replicas, the number of spare ones grows with their square root."""

Peaks = list[tuple[float, int]]
"""Times and the replicas wanted at them; later entries have lower counts. JSON-able."""

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Sizing:
    """The operator's settings of the policy.

    Attributes:
        gpu_budget: GPUs that all stages together may take.
        gpus: GPUs per replica, by the name of every stage; 0 for a stage that runs on CPUs.
        pods: groups of stages that share pods, with one replica of each stage in a pod. Such a pod
            takes the GPUs of all its stages, even while one replica is missing.
        max_wait_s: time within which accepted work should be done; a shorter time means more
            replicas in a burst.
        utilization: share of its time that a replica should be busy under a steady load; a large
            stage may exceed it.
        hold_s: how long a replica is kept after it was last wanted.

    Raises:
        SettingsInvalid: a value is outside its range.
    """

    gpu_budget: float
    gpus: Mapping[str, float]
    pods: Sequence[Sequence[str]] = ()
    max_wait_s: float = 4.0
    utilization: float = 0.5
    hold_s: float = 75.0

    def __post_init__(self) -> None:
        together = [stage for pod in self.pods for stage in pod]
        if len(together) != len(set(together)) or not set(together) <= set(self.gpus):
            raise SettingsInvalid(f"pods must name each of {', '.join(self.gpus)} at most once")
        if self.gpu_budget < 0 or any(share < 0 for share in self.gpus.values()):
            raise SettingsInvalid("gpu_budget and gpus must not be below 0")
        if self.max_wait_s <= 0 or self.hold_s < 0:
            raise SettingsInvalid("max_wait_s must be above 0 and hold_s must not be below 0")
        if not 0 < self.utilization <= 1:
            raise SettingsInvalid("utilization must be above 0 and at most 1")

    def gpus_taken(self, replicas: Mapping[str, int]) -> float:
        """Return how many GPUs the given numbers of replicas take."""
        together = {stage for pod in self.pods for stage in pod}
        pods = [*self.pods, *((stage,) for stage in replicas if stage not in together)]
        return sum(
            max(replicas.get(stage, 0) for stage in pod) * sum(self.gpus[stage] for stage in pod)
            for pod in pods
        )


@dataclass(frozen=True, slots=True)
class StageLoad:
    """The load and the limits of one stage.

    Attributes:
        arriving: work per second accepted for this stage, over each of ``RATE_WINDOWS_S``.
        open_work: work that the stage has not yet done for accepted images, including images that
            are still at earlier stages.
        seconds_per_work: replica-seconds per unit of work; None if it has not been measured.
        target: the current target number of replicas.
        floor, cap: minimum and maximum of replicas; a floor of 0 lets the stage scale to zero.
    """

    arriving: tuple[float, ...]
    open_work: float
    seconds_per_work: float | None
    target: int
    floor: int
    cap: int


def plan(
    sizing: Sizing, now_s: float, loads: Mapping[str, StageLoad], peaks: Mapping[str, Peaks]
) -> tuple[dict[str, int], dict[str, Peaks]]:
    """Return the replicas of each stage, and the ``peaks`` to pass to the next call.

    Replicas that are wanted now come before replicas that are only held. If the budget is too
    small, the next replica goes to the stage that has the smallest share of what it wants, so no
    stage starves another. Each stage gets its floor even if the floors exceed the budget.

    Args:
        sizing: the operator's choices.
        now_s: time of a monotonic clock.
        loads: by stage.
        peaks: those that the last call returned; empty for the first call.
    """
    wanted = {stage: _wanted(sizing, load) for stage, load in loads.items()}
    kept = {
        stage: _add_sample(peaks.get(stage) or [(now_s, load.target)], now_s, wanted[stage], sizing)
        for stage, load in loads.items()
    }
    held = {stage: min(kept[stage][0][1], load.cap) for stage, load in loads.items()}
    granted = {stage: load.floor for stage, load in loads.items()}
    _grant(sizing, granted, wanted)
    _grant(sizing, granted, held)
    return granted, kept


def _wanted(sizing: Sizing, load: StageLoad) -> int:
    """Return the replicas that keep up with arriving work and finish the open work soon."""
    rate = max(load.arriving)
    if load.seconds_per_work is None:
        count = 1 if rate > 0 or load.open_work > 0 else 0
    else:
        steady = _with_spares(rate * load.seconds_per_work, sizing.utilization)
        soon = load.open_work * load.seconds_per_work / sizing.max_wait_s
        count = math.ceil(max(steady, soon) - _TOLERANCE)
    return max(load.floor, min(load.cap, count))


def _with_spares(busy: float, utilization: float) -> float:
    """Return the busy replicas plus the spare ones.

    The relative variation of the load is smaller in a large stage. So, for the same waits, the
    spare replicas only need to grow with the square root of the load (Halfin and Whitt, 1981).
    """
    spare = busy * (1 / utilization - 1)
    return busy + spare * math.sqrt(POOLING_LOAD / max(busy, POOLING_LOAD))


def _add_sample(peaks: Peaks, now_s: float, wanted: int, sizing: Sizing) -> Peaks:
    """Return the peaks with one more sample; the first entry is the maximum within ``hold_s``."""
    recent = [(at_s, count) for at_s, count in peaks if now_s - at_s <= sizing.hold_s]
    return [(at_s, count) for at_s, count in recent if count > wanted] + [(now_s, wanted)]


def _grant(sizing: Sizing, granted: dict[str, int], wanted: Mapping[str, int]) -> None:
    """Raise ``granted`` towards ``wanted`` within the budget; the smallest share goes first."""
    while short := [
        stage
        for stage in granted
        if granted[stage] < wanted[stage] and _fits(sizing, granted | {stage: granted[stage] + 1})
    ]:
        stage = min(short, key=lambda name: granted[name] / wanted[name])
        granted[stage] += 1


def _fits(sizing: Sizing, replicas: Mapping[str, int]) -> bool:
    return sizing.gpus_taken(replicas) <= sizing.gpu_budget + _TOLERANCE
