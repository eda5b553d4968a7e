"""A stage that only counts, and a listener that collects: the engine's tests drive both."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Failed, Finished, TaskHandle
from cascade_core.errors import CascadeError
from cascade_core.images.pixels import Rgb
from cascade_core.stages.base import DeviceStep
from tests.limits import HANG_S


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@dataclass(eq=False)
class Task:
    name: str
    steps: int = 3
    bucket: tuple[int, ...] = (1,)


@dataclass(eq=False)
class ToyRow:
    name: str
    steps: int
    bucket: tuple[int, ...]
    step: int = 0


@dataclass
class ToyStage:
    """Counts steps; tests look inside and break in by replacing its hooks."""

    name: str = "toy"
    batches: list[list[str]] = field(default_factory=list)
    frees: int = 0
    threads: set[int] = field(default_factory=set)
    warm_up_task: Task | None = None
    on_warm_up: Callable[[], None] = lambda: None
    on_admit: Callable[[Task], None] = lambda task: None
    on_step: Callable[[Sequence[ToyRow]], None] = lambda rows: None
    on_result: Callable[[ToyRow], None] = lambda row: None
    on_preview: Callable[[ToyRow], None] = lambda row: None

    def admit(self, task: Task) -> ToyRow:
        self.threads.add(threading.get_ident())
        self.on_admit(task)
        return ToyRow(task.name, task.steps, task.bucket)

    def advance(self, rows: Sequence[ToyRow]) -> DeviceStep | None:
        self.threads.add(threading.get_ident())
        self.batches.append([row.name for row in rows])
        assert len({row.bucket for row in rows}) == 1
        self.on_step(rows)
        for row in rows:
            row.step += 1
        return None

    def result(self, row: ToyRow) -> str:
        self.on_result(row)
        return f"{row.name} after {row.step}"

    def preview(self, row: ToyRow) -> Rgb | None:
        self.on_preview(row)
        return np.full((1, 1, 3), row.step, np.uint8)

    def warm_up(self) -> Task | None:
        self.threads.add(threading.get_ident())
        self.on_warm_up()
        return self.warm_up_task

    def free_memory(self) -> None:
        self.frees += 1

    def steps_of(self, name: str) -> int:
        return sum(name in batch for batch in self.batches)


class HandClock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Listener:
    """Collects one task's events."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Event] = queue.Queue()
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self._queue.put(event)

    def next(self) -> Event:
        self.events.append(self._queue.get(timeout=HANG_S))
        return self.events[-1]

    def end(self) -> Event:
        while not isinstance(self.next(), Finished | Failed):
            pass
        return self.events[-1]

    def error(self) -> CascadeError:
        end = self.end()
        assert isinstance(end, Failed)
        return end.error

    def result(self) -> str:
        end = self.end()
        assert isinstance(end, Finished), end
        return str(end.result)

    def is_silent(self) -> bool:
        return self._queue.empty()


Engine = StepEngine[Task, ToyRow, str]


Engine = StepEngine[Task, ToyRow, str]
MakeEngine = Callable[[int], Engine]


def submit(engine: Engine, task: Task, previews: int = 0) -> tuple[TaskHandle, Listener]:
    listener = Listener()
    return engine.submit(task, listener, previews), listener
