import threading
from collections.abc import Sequence

import pytest

from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Failed, Finished, Started, Stepped
from cascade_core.errors import (
    NotReady,
    SettingsInvalid,
)
from tests.cascade_core.toy_stage import (
    Listener,
    MakeEngine,
    Task,
    ToyRow,
    ToyStage,
    submit,
)
from tests.limits import HANG_S


def test_events_come_in_order_and_end_once(make_engine: MakeEngine) -> None:
    engine = make_engine(1)
    engine.start()
    _, listener = submit(engine, Task("a", steps=3))

    assert listener.result() == "a after 3"
    assert [type(event) for event in listener.events] == [
        Started,
        Stepped,
        Stepped,
        Stepped,
        Finished,
    ]
    steps = [(event.step, event.steps) for event in listener.events if isinstance(event, Stepped)]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    engine.close()
    assert listener.is_silent()


def test_one_thread_alone_touches_the_stage(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(3)
    engine.start()
    listeners = [submit(engine, Task(str(i)))[1] for i in range(6)]
    for listener in listeners:
        listener.end()

    assert len(stage.threads) == 1
    assert threading.get_ident() not in stage.threads


def test_rows_of_one_shape_share_steps_up_to_the_limit(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(2)
    listeners = [submit(engine, Task(name, steps=2))[1] for name in "abc"]
    engine.start()
    for listener in listeners:
        listener.result()

    assert stage.batches == [["a", "b"], ["a", "b"], ["c"], ["c"]]


def test_a_row_joins_between_the_steps_of_another(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(2)
    late = Listener()

    def join(rows: Sequence[ToyRow]) -> None:
        if len(stage.batches) == 1:
            engine.submit(Task("late", steps=1), late)

    stage.on_step = join
    _, early = submit(engine, Task("early", steps=3))
    engine.start()
    early.result()
    late.result()

    assert stage.batches == [["early"], ["early", "late"], ["early"]]


def test_rows_of_different_shapes_take_turns_by_work(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(3)
    tasks = [Task("a", 5, (1,)), Task("b", 2, (2, 2)), Task("c", 5, (1,))]
    listeners = [submit(engine, task)[1] for task in tasks]
    engine.start()
    for listener in listeners:
        listener.result()

    assert stage.batches == [["a", "c"], ["b"], *[["a", "c"]] * 3, ["b"], ["a", "c"]]


def test_admission_is_first_come_first_served(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(1)
    listeners = [submit(engine, Task(name, steps=1))[1] for name in "abcdef"]
    engine.start()
    for listener in listeners:
        listener.result()

    assert stage.batches == [[name] for name in "abcdef"]


def test_previews_come_with_evenly_spread_steps(make_engine: MakeEngine) -> None:
    engine = make_engine(1)
    engine.start()
    _, listener = submit(engine, Task("a", steps=8), previews=3)
    listener.result()
    steps = [event for event in listener.events if isinstance(event, Stepped)]

    shown = [event.step for event in steps if event.preview is not None]
    assert shown == [2, 4, 6]
    assert all(event.preview[0, 0, 0] == event.step for event in steps if event.preview is not None)


def test_without_wish_for_previews_none_is_made(make_engine: MakeEngine, stage: ToyStage) -> None:
    asked: list[ToyRow] = []
    stage.on_preview = asked.append
    engine = make_engine(1)
    engine.start()
    submit(engine, Task("a", steps=8))[1].result()

    assert asked == []


def test_a_preview_that_fails_does_not_harm_its_task(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def fail(row: ToyRow) -> None:
        raise ValueError

    stage.on_preview = fail
    engine = make_engine(1)
    engine.start()
    _, listener = submit(engine, Task("a"), previews=2)

    assert listener.result() == "a after 3"


def test_a_row_without_steps_finishes_at_once(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(1)
    engine.start()

    assert submit(engine, Task("a", steps=0))[1].result() == "a after 0"
    assert stage.batches == []


def test_closing_ends_everything_after_the_step_in_flight(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    engine = make_engine(1)
    _, running = submit(engine, Task("running", steps=5))
    _, waiting = submit(engine, Task("waiting"))
    inside, go_on = threading.Event(), threading.Event()

    def hold(rows: Sequence[ToyRow]) -> None:
        inside.set()
        assert go_on.wait(HANG_S)

    stage.on_step = hold
    engine.start()
    assert inside.wait(HANG_S)
    closer = threading.Thread(target=engine.close)
    closer.start()
    while engine.is_alive():
        pass
    with pytest.raises(NotReady):
        engine.submit(Task("late"), Listener())
    go_on.set()
    closer.join(HANG_S)

    assert type(running.error()) is NotReady
    assert type(waiting.error()) is NotReady
    assert stage.batches == [["running"]]
    engine.close()
    assert running.is_silent()


def test_an_engine_closed_before_its_start_fails_what_waits(make_engine: MakeEngine) -> None:
    engine = make_engine(1)
    _, listener = submit(engine, Task("a"))
    engine.close()

    assert type(listener.error()) is NotReady


def test_a_listener_may_close_the_engine(make_engine: MakeEngine) -> None:
    engine = make_engine(1)
    listener = Listener()

    def close_at_the_first_step(event: Event) -> None:
        listener(event)
        if isinstance(event, Stepped):
            engine.close()

    engine.submit(Task("a"), close_at_the_first_step)
    engine.start()

    assert type(listener.error()) is NotReady


def test_each_of_many_tasks_from_many_threads_ends_exactly_once(make_engine: MakeEngine) -> None:
    engine = make_engine(4)
    engine.start()
    together = threading.Barrier(4)
    ended: list[list[Listener]] = [[], [], [], []]

    def client(number: int) -> None:
        together.wait(HANG_S)
        for index in range(25):
            task = Task(f"{number}-{index}", steps=1 + index % 4, bucket=(1 + index % 3,))
            work, listener = submit(engine, task)
            if index % 5 == 0:
                work.cancel()
            ended[number].append(listener)
        for listener in ended[number]:
            listener.end()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(HANG_S)
    engine.close()

    listeners = [listener for group in ended for listener in group]
    ends = [listener.events[-1] for listener in listeners]
    stats = engine.stats()
    assert all(isinstance(end, Finished | Failed) for end in ends)
    assert all(listener.is_silent() for listener in listeners)
    assert stats.finished + stats.cancelled == len(ends) == 100
    assert stats.failed == 0


def test_an_engine_needs_room_for_one_row(stage: ToyStage) -> None:
    with pytest.raises(SettingsInvalid):
        StepEngine(stage, 0)
