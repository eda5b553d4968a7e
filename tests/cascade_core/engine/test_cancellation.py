import itertools
import threading
from collections.abc import Sequence

import pytest

from cascade_core.engine.events import Event, Failed, Finished, Stepped, TaskHandle
from tests.cascade_core.toy_stage import (
    Listener,
    MakeEngine,
    Task,
    ToyRow,
    ToyStage,
    submit,
)
from tests.limits import HANG_S


def test_cancelled_while_waiting_it_never_starts(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(1)
    _, first = submit(engine, Task("first", steps=1))
    work, listener = submit(engine, Task("second"))
    work.cancel()
    engine.start()

    assert listener.error().code == "cancelled"
    assert [type(event) for event in listener.events] == [Failed]
    assert first.result() == "first after 1"
    assert stage.steps_of("second") == 0


def test_a_waiting_task_need_not_wait_for_a_free_row_to_be_cancelled(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(1)
    ends: list[str] = []
    submitted: list[TaskHandle] = []

    def cancel(rows: Sequence[ToyRow]) -> None:
        submitted[1].cancel()

    stage.on_step = cancel
    done = threading.Event()
    submitted.append(engine.submit(Task("long", steps=3), lambda e: note("long", e)))
    submitted.append(engine.submit(Task("queued"), lambda e: note("queued", e)))

    def note(name: str, event: Event) -> None:
        if isinstance(event, Finished | Failed):
            ends.append(name)
            if len(ends) == 2:
                done.set()

    engine.start()

    assert done.wait(HANG_S)
    assert ends == ["queued", "long"]


@pytest.mark.parametrize("during_step", [1, 2, 5])
def test_cancelled_during_a_step_it_never_runs_another(
    make_engine: MakeEngine, stage: ToyStage, during_step: int
) -> None:
    engine = make_engine(1)
    work, listener = submit(engine, Task("a", steps=5))
    inside, go_on = threading.Event(), threading.Event()

    def hold(rows: Sequence[ToyRow]) -> None:
        if len(stage.batches) == during_step:
            inside.set()
            assert go_on.wait(HANG_S)

    stage.on_step = hold
    engine.start()
    assert inside.wait(HANG_S)
    work.cancel()
    go_on.set()

    assert listener.error().code == "cancelled"
    assert sum(isinstance(event, Stepped) for event in listener.events) == during_step - 1
    assert stage.steps_of("a") == during_step
    _, other = submit(engine, Task("b"))
    other.result()
    assert stage.steps_of("a") == during_step


def test_cancelled_during_admission_it_never_takes_a_step(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(1)
    work, listener = submit(engine, Task("a"))
    stage.on_admit = lambda task: work.cancel()
    engine.start()

    assert listener.error().code == "cancelled"
    assert stage.batches == []


def test_cancelled_by_its_own_listener_it_stops(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(1)
    listener = Listener()
    works: list[TaskHandle] = []

    def cancel_after_the_first_step(event: Event) -> None:
        listener(event)
        if isinstance(event, Stepped):
            works[0].cancel()

    works.append(engine.submit(Task("a"), cancel_after_the_first_step))
    engine.start()

    assert listener.error().code == "cancelled"
    assert stage.steps_of("a") == 1


def test_cancelling_after_the_end_changes_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine(1)
    engine.start()
    work, listener = submit(engine, Task("a"))
    listener.result()
    work.cancel()
    work.cancel()
    _, other = submit(engine, Task("b"))

    assert other.result() == "b after 3"
    assert listener.is_silent()
    assert engine.stats().cancelled == 0


def test_neighbours_of_a_cancelled_row_go_on(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(2)
    work, cancelled = submit(engine, Task("a", steps=4))
    _, neighbour = submit(engine, Task("b", steps=4))
    _, third = submit(engine, Task("c", steps=1))
    stage.on_step = lambda rows: work.cancel() if len(stage.batches) == 2 else None
    engine.start()

    assert cancelled.error().code == "cancelled"
    assert neighbour.result() == "b after 4"
    assert third.result() == "c after 1"
    assert stage.batches == [["a", "b"], ["a", "b"], ["b", "c"], ["b"]]


def test_cancelled_while_another_is_admitted_it_never_runs_another_step(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(2)
    late = Listener()
    work, listener = submit(engine, Task("a"))

    def join(rows: Sequence[ToyRow]) -> None:
        if len(stage.batches) == 1:
            engine.submit(Task("late", steps=1), late)

    def cancel(task: Task) -> None:
        if task.name == "late":
            work.cancel()

    stage.on_step, stage.on_admit = join, cancel
    engine.start()

    assert listener.error().code == "cancelled"
    assert late.result() == "late after 1"
    assert stage.batches == [["a"], ["late"]]


def test_a_row_cancelled_out_of_turn_makes_room_before_the_next_step(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(2)
    _, first = submit(engine, Task("a", 2, (1,)))
    work, cancelled = submit(engine, Task("b", 2, (2,)))
    _, third = submit(engine, Task("c", 1, (1,)))
    stage.on_step = lambda rows: work.cancel()
    engine.start()

    assert cancelled.error().code == "cancelled"
    assert first.result() == "a after 2"
    assert third.result() == "c after 1"
    assert stage.batches == [["a"], ["a", "c"]]


def test_with_one_row_requests_never_overlap_although_they_are_cancelled(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(1)
    engine.start()
    story: list[tuple[int, type[Event]]] = []
    works: list[TaskHandle] = []
    inside, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def hold(rows: Sequence[ToyRow]) -> None:
        if rows[0].step == 1:
            inside.release()
            assert go_on.acquire(timeout=HANG_S)

    stage.on_step = hold
    for index in range(20):
        listener = Listener()

        def tell(event: Event, index: int = index, listener: Listener = listener) -> None:
            story.append((index, type(event)))
            listener(event)

        works.append(engine.submit(Task(str(index), steps=4), tell))
    for index, work in enumerate(works):
        assert inside.acquire(timeout=HANG_S)
        if index % 2:
            work.cancel()
        go_on.release()
    engine.submit(Task("last", steps=1), last := Listener())
    last.end()

    runs = [name for name, _ in itertools.groupby(name for (name,) in stage.batches)]
    assert runs == [*map(str, range(20)), "last"]
    assert [stage.steps_of(str(index)) for index in range(20)] == [4, 2] * 10
    assert [index for index, _ in story] == sorted(index for index, _ in story)
