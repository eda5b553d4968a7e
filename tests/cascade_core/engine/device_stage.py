"""A toy stage whose device goes on after ``advance`` returns, by a clock that a test can read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.cascade_core.toy_stage import HandClock, ToyRow, ToyStage

LAUNCH_S, STEP_S = 0.25, 2.0


@dataclass(eq=False)
class ClockedStep:
    """A step that the device of a stage begins and ends at known times."""

    stage: DeviceStage
    begin_s: float
    end_s: float

    def wait(self) -> float:
        self.stage.waits += 1
        self.stage.clock.now_s = max(self.stage.clock.now_s, self.end_s)
        self.stage.on_wait(self.stage.waits)
        return self.end_s - self.begin_s


@dataclass
class DeviceStage(ToyStage):
    """Its device does the launched steps one after the other."""

    clock: HandClock = field(default_factory=HandClock)
    ends_s: dict[tuple[str, int], float] = field(default_factory=dict)
    steps: list[ClockedStep] = field(default_factory=list)
    waits: int = 0
    step_s: Callable[[int], float] = lambda rows: STEP_S
    on_wait: Callable[[int], None] = lambda number: None

    def advance(self, rows: Sequence[ToyRow]) -> ClockedStep:
        super().advance(rows)
        self.clock.now_s += LAUNCH_S
        begin_s = max([self.clock.now_s, *(step.end_s for step in self.steps[-1:])])
        step = ClockedStep(self, begin_s, begin_s + self.step_s(len(rows)))
        self.steps.append(step)
        self.ends_s |= {(row.name, row.step): step.end_s for row in rows}
        return step

    def in_flight(self) -> int:
        return sum(step.end_s > self.clock.now_s for step in self.steps)
