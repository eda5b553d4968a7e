"""A device that goes on after ``advance`` returns: what the engine launches, tells and measures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Failed, Finished, Stepped, TaskHandle
from cascade_core.engine.step_runner import MAX_IN_FLIGHT
from cascade_core.errors import Cancelled, CascadeError, Internal, NotReady, StageLost
from tests.cascade_core.engine.device_stage import LAUNCH_S, STEP_S, DeviceStage
from tests.cascade_core.toy_stage import Engine, Listener, Task, ToyRow, submit
from tests.limits import HANG_S

BROKEN = torch.AcceleratorError("CUDA error: device-side assert triggered")


@pytest.fixture
def stage() -> DeviceStage:
    return DeviceStage()


@pytest.fixture
def make_clocked(stage: DeviceStage) -> Iterator[Callable[[int], Engine]]:
    made: list[Engine] = []

    def make(max_rows: int) -> Engine:
        made.append(StepEngine(stage, max_rows, stage.clock))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


MakeClocked = Callable[[int], Engine]


def test_two_steps_are_in_flight_and_never_more(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    before: list[int] = []
    stage.on_step = lambda rows: before.append(stage.in_flight())
    engine = make_clocked(1)
    engine.start()
    submit(engine, Task("a", steps=6))[1].result()

    assert before == [0, *[MAX_IN_FLIGHT - 1] * 5]


def test_the_device_does_step_after_step_without_a_pause(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    engine = make_clocked(1)
    engine.start()
    submit(engine, Task("a", steps=5))[1].result()

    steps = stage.steps
    assert [after.begin_s for after in steps[1:]] == [before.end_s for before in steps[:-1]]


def test_a_step_is_told_when_the_device_has_done_it(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    told_s: list[float] = []

    def emit(event: Event) -> None:
        if isinstance(event, Stepped):
            told_s.append(stage.clock.now_s)

    engine = make_clocked(1)
    engine.submit(Task("a", steps=5), emit)
    engine.start()
    submit(engine, Task("b"))[1].result()

    assert told_s == [step.end_s for step in stage.steps[:5]]


def test_seconds_per_step_are_those_of_the_device(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    engine = make_clocked(1)
    engine.start()
    end = submit(engine, Task("a", steps=5))[1].end()
    engine.close()

    assert engine.stats().seconds_per_step == STEP_S
    assert engine.stats().stage_s == LAUNCH_S + 5 * STEP_S
    assert isinstance(end, Finished)
    assert end.seconds == LAUNCH_S + 5 * STEP_S


@pytest.mark.parametrize("during", [1, 2, 5])
def test_a_cancelled_row_takes_part_in_no_step_but_those_in_flight(
    make_clocked: MakeClocked, stage: DeviceStage, during: int
) -> None:
    engine = make_clocked(1)
    work, listener = submit(engine, Task("a", steps=20))
    stage.on_wait = lambda number: work.cancel() if number == during else None
    engine.start()

    assert type(listener.error()) is Cancelled
    assert submit(engine, Task("b"))[1].result() == "b after 3"
    assert stage.steps_of("a") == during + MAX_IN_FLIGHT - 1
    told = [event.step for event in listener.events if isinstance(event, Stepped)]
    assert told == list(range(1, during))


def test_a_row_cancelled_while_its_step_is_launched_takes_no_other(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    engine = make_clocked(1)
    work, listener = submit(engine, Task("a", steps=20))
    stage.on_step = lambda rows: work.cancel() if rows[0].step == 3 else None
    engine.start()

    assert type(listener.error()) is Cancelled
    assert submit(engine, Task("b"))[1].result() == "b after 3"
    assert stage.steps_of("a") == 4


def test_steps_of_rows_that_have_left_are_waited_for_before_the_engine_rests(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    engine = make_clocked(1)
    work, listener = submit(engine, Task("a", steps=20))
    all_done = threading.Event()

    def wait(number: int) -> None:
        if number == 2:
            work.cancel()
        if number == 3:
            all_done.set()

    stage.on_wait = wait
    engine.start()

    assert type(listener.error()) is Cancelled
    assert all_done.wait(HANG_S)
    assert stage.steps_of("a") == 3


def test_previews_and_results_are_fetched_with_nothing_in_flight(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    in_flight: list[int] = []
    stage.on_preview = lambda row: in_flight.append(stage.in_flight())
    stage.on_result = lambda row: in_flight.append(stage.in_flight())
    engine = make_clocked(2)
    _, watched = submit(engine, Task("watched", steps=8), previews=3)
    _, other = submit(engine, Task("other", steps=20))
    engine.start()

    assert watched.result() == "watched after 8"
    assert other.result() == "other after 20"
    shown = [event for event in watched.events if isinstance(event, Stepped)]
    previews = {event.step: event.preview for event in shown if event.preview is not None}
    assert {step: preview[0, 0, 0] for step, preview in previews.items()} == {2: 2, 4: 4, 6: 6}
    assert in_flight == [0] * 5


def test_a_device_that_fails_late_blames_the_rows_of_all_steps_in_flight(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise BROKEN

    stage.on_wait = fail
    engine = make_clocked(3)
    tasks = [Task(name, 9, (1, size)) for size, name in enumerate("abc", 1)]
    listeners = [submit(engine, task)[1] for task in [*tasks, Task("waiting")]]
    engine.start()

    assert [type(listener.error()) for listener in listeners] == [
        NotReady,
        StageLost,
        StageLost,
        NotReady,
    ]
    assert stage.batches == [["a"], ["b"], ["c"]]
    assert not engine.is_alive()


def test_a_launch_that_meets_a_failed_device_blames_the_steps_in_flight_too(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    def fail(rows: Sequence[ToyRow]) -> None:
        if rows[0].name == "c":
            raise BROKEN

    stage.on_step = fail
    engine = make_clocked(3)
    tasks = [Task(name, 9, (1, size)) for size, name in enumerate("abc", 1)]
    listeners = [submit(engine, task)[1] for task in tasks]
    engine.start()

    codes = [type(listener.error()) for listener in listeners]
    assert codes == [NotReady, StageLost, StageLost]


@pytest.mark.parametrize(
    ("steps", "in_flight", "errors"),
    [
        (9, MAX_IN_FLIGHT, {"running": StageLost, "new": StageLost}),
        (1, 0, {"new": StageLost}),
    ],
)
def test_an_admission_that_meets_a_failed_device_is_blamed_with_the_steps_in_flight(
    make_clocked: MakeClocked,
    stage: DeviceStage,
    steps: int,
    in_flight: int,
    errors: dict[str, type[CascadeError]],
) -> None:
    listeners = {"running": Listener(), "new": Listener()}
    met: list[int] = []

    def admit(task: Task) -> None:
        if task.name == "new":
            met.append(stage.in_flight())
            raise BROKEN

    def emit(event: Event) -> None:
        listeners["running"](event)
        if isinstance(event, Stepped) and event.step == 1:
            engine.submit(Task("new"), listeners["new"])

    stage.on_admit = admit
    engine = make_clocked(2)
    engine.submit(Task("running", steps), emit)
    engine.start()

    assert {name: type(listeners[name].error()) for name in errors} == errors
    assert met == [in_flight]


def test_another_late_error_fails_the_rows_of_its_step_alone(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise ValueError

    stage.on_wait = fail
    engine = make_clocked(3)
    tasks = [Task("a", 5, (1,)), Task("b", 5, (1,)), Task("c", 5, (2,))]
    listeners = [submit(engine, task)[1] for task in tasks]
    engine.start()

    assert type(listeners[0].error()) is Internal
    assert type(listeners[1].error()) is Internal
    assert listeners[2].result() == "c after 5"
    assert all(listener.is_silent() for listener in listeners)


def test_a_batch_that_fails_is_tried_again_with_nothing_in_flight(
    make_clocked: MakeClocked, stage: DeviceStage
) -> None:
    in_flight: dict[int, list[int]] = {1: [], 2: [], 4: []}

    def step(rows: Sequence[ToyRow]) -> None:
        in_flight[len(rows)].append(stage.in_flight())
        if len(rows) > 2 and rows[0].step == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    stage.on_step = step
    engine = make_clocked(4)
    listeners = [submit(engine, Task(name, steps=2))[1] for name in "abcd"]
    engine.start()

    assert [listener.result() for listener in listeners] == [f"{name} after 2" for name in "abcd"]
    assert in_flight == {1: [], 2: [0, 0], 4: [0, 1]}
    assert stage.frees == 1


def test_the_knee_is_measured_by_the_device(make_clocked: MakeClocked, stage: DeviceStage) -> None:
    stage.warm_up_task = Task("warm-up", steps=1)
    stage.step_s = lambda rows: 0.01 * rows
    engine = make_clocked(4)
    engine.start()

    assert engine.stats().knee_rows == 1


@dataclass(frozen=True)
class Case:
    """Tasks that begin together, and what happens to them.

    Attributes:
        tasks: steps, bucket and previews of each.
        cancelled: the number of the wait during which each of these tasks is cancelled.
        no_memory: numbers of the launches that fail.
        late: numbers of the waits that fail.
    """

    tasks: list[tuple[int, int, int]]
    max_rows: int
    cancelled: dict[int, int]
    no_memory: set[int]
    late: set[int]


NUMBERS = st.integers(1, 12)
CASES = st.builds(
    Case,
    tasks=st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=6
    ),
    max_rows=st.integers(1, 4),
    cancelled=st.dictionaries(st.integers(0, 5), NUMBERS, max_size=3),
    no_memory=st.sets(NUMBERS, max_size=2),
    late=st.sets(NUMBERS, max_size=2),
)


@given(CASES)
def test_whatever_fails_or_is_cancelled_each_task_ends_once_and_is_told_only_what_is_done(
    case: Case,
) -> None:
    stage = DeviceStage()
    engine: Engine = StepEngine(stage, case.max_rows, stage.clock)
    works: list[TaskHandle] = []
    listeners: list[Listener] = []
    untrue: list[str] = []

    def launch(rows: Sequence[ToyRow]) -> None:
        if stage.in_flight() >= MAX_IN_FLIGHT:
            untrue.append("too far ahead")
        if len(stage.batches) in case.no_memory:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def wait(number: int) -> None:
        for index, during in case.cancelled.items():
            if during == number and index < len(works):
                works[index].cancel()
        if number in case.late:
            raise ValueError

    for index, (steps, bucket, previews) in enumerate(case.tasks):
        listeners.append(Listener())

        def emit(event: Event, index: int = index) -> None:
            if isinstance(event, Stepped):
                end_s = stage.ends_s[f"{index}", event.step]
                untrue.extend(["told too early"] * (stage.clock.now_s < end_s))
            listeners[index](event)

        works.append(engine.submit(Task(f"{index}", steps, (bucket,)), emit, previews))
    stage.on_step, stage.on_wait = launch, wait
    engine.start()
    ends = [listener.end() for listener in listeners]
    engine.close()

    assert untrue == []
    assert all(listener.is_silent() for listener in listeners)
    for (steps, _, _), listener, end in zip(case.tasks, listeners, ends, strict=True):
        told = [event.step for event in listener.events if isinstance(event, Stepped)]
        assert told == list(range(1, len(told) + 1))
        assert len(told) == steps or isinstance(end, Failed)
    stats = engine.stats()
    assert stats.finished + stats.failed + stats.cancelled == len(ends)
