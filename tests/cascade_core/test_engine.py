import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from cascade_core.engine import Event, Failed, Finished, Started, StepEngine, Stepped, Work
from cascade_core.errors import (
    CascadeError,
    Internal,
    InvalidRequest,
    NonFiniteLatent,
    NotReady,
    OutOfMemory,
    SettingsInvalid,
)
from cascade_core.stages.base import Rgb

PATIENCE_S = 20.0


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
    threads: set[int] = field(default_factory=set)
    on_admit: Callable[[Task], None] = lambda task: None
    on_step: Callable[[Sequence[ToyRow]], None] = lambda rows: None
    on_result: Callable[[ToyRow], None] = lambda row: None
    on_preview: Callable[[ToyRow], None] = lambda row: None

    def admit(self, task: Task) -> ToyRow:
        self.threads.add(threading.get_ident())
        self.on_admit(task)
        return ToyRow(task.name, task.steps, task.bucket)

    def advance(self, rows: Sequence[ToyRow]) -> None:
        self.threads.add(threading.get_ident())
        self.batches.append([row.name for row in rows])
        assert len({row.bucket for row in rows}) == 1
        self.on_step(rows)
        for row in rows:
            row.step += 1

    def result(self, row: ToyRow) -> str:
        self.on_result(row)
        return f"{row.name} after {row.step}"

    def preview(self, row: ToyRow) -> Rgb | None:
        self.on_preview(row)
        return np.full((1, 1, 3), row.step, np.uint8)

    def warm_up(self) -> None:
        pass

    def steps_of(self, name: str) -> int:
        return sum(name in batch for batch in self.batches)


class Listener:
    """Collects one task's events."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Event] = queue.Queue()
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self._queue.put(event)

    def next(self) -> Event:
        self.events.append(self._queue.get(timeout=PATIENCE_S))
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


@pytest.fixture
def stage() -> ToyStage:
    return ToyStage()


@pytest.fixture
def make_engine(stage: ToyStage) -> Iterator[Callable[[int], Engine]]:
    made: list[Engine] = []

    def make(max_rows: int) -> Engine:
        made.append(StepEngine(stage, max_rows))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
        assert not engine.is_alive()


def submit(engine: Engine, task: Task, previews: int = 0) -> tuple[Work, Listener]:
    listener = Listener()
    return engine.submit(task, listener, previews), listener


MakeEngine = Callable[[int], Engine]


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


def test_rows_of_different_shapes_take_turns(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(3)
    tasks = [Task("a", 2, (1,)), Task("b", 2, (2,)), Task("c", 2, (1,))]
    listeners = [submit(engine, task)[1] for task in tasks]
    engine.start()
    for listener in listeners:
        listener.result()

    assert stage.batches == [["a", "c"], ["b"], ["a", "c"], ["b"]]


def test_admission_is_first_come_first_served(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(1)
    listeners = [submit(engine, Task(name, steps=1))[1] for name in "abcdef"]
    engine.start()
    for listener in listeners:
        listener.result()

    assert stage.batches == [[name] for name in "abcdef"]


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
    submitted: list[Work] = []

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

    assert done.wait(PATIENCE_S)
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
            assert go_on.wait(PATIENCE_S)

    stage.on_step = hold
    engine.start()
    assert inside.wait(PATIENCE_S)
    work.cancel()
    go_on.set()

    assert listener.error().code == "cancelled"
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
    works: list[Work] = []

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


def test_with_one_row_requests_never_overlap_although_they_are_cancelled(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    inside: list[str] = []
    overlaps: list[str] = []
    engine = make_engine(1)
    engine.start()

    def watch(rows: Sequence[ToyRow]) -> None:
        inside.append(rows[0].name)
        overlaps.extend(inside[1:])
        inside.clear()

    stage.on_step = watch
    listeners = []
    for index in range(60):
        work, listener = submit(engine, Task(str(index), steps=5))
        listeners.append(listener)
        if index % 2:
            assert isinstance(listeners[index - 1].end(), Finished | Failed)
            work.cancel()
    for listener in listeners[1::2]:
        listener.end()

    runs = [name for i, (name,) in enumerate(stage.batches) if stage.batches[i - 1] != [name]]
    assert len(runs) == len(set(runs)), "a request went on after the next had begun"
    assert overlaps == []


def test_a_task_that_cannot_be_admitted_fails_alone(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def refuse(task: Task) -> None:
        if task.name == "bad":
            raise InvalidRequest("no such thing", "prompt")

    stage.on_admit = refuse
    engine = make_engine(3)
    listeners = {name: submit(engine, Task(name))[1] for name in ("a", "bad", "b")}
    engine.start()

    error = listeners["bad"].error()
    assert (type(error), error.field) == (InvalidRequest, "prompt")
    assert [type(event) for event in listeners["bad"].events] == [Started, Failed]
    assert listeners["a"].result() == "a after 3"
    assert listeners["b"].result() == "b after 3"


def test_a_stage_that_admits_nonsense_fails_only_that_task(
    make_engine: MakeEngine, stage: ToyStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(1)
    engine.start()
    with monkeypatch.context() as patch:
        patch.setattr(stage, "admit", lambda task: None)
        assert type(submit(engine, Task("a"))[1].error()) is Internal

    assert submit(engine, Task("b"))[1].result() == "b after 3"


def test_a_row_that_breaks_its_batch_fails_alone(make_engine: MakeEngine, stage: ToyStage) -> None:
    def break_bad(rows: Sequence[ToyRow]) -> None:
        if any(row.name == "bad" and row.step == 1 for row in rows):
            raise ValueError("a detail for the log only")

    stage.on_step = break_bad
    engine = make_engine(3)
    listeners = {name: submit(engine, Task(name))[1] for name in ("a", "bad", "b")}
    engine.start()

    error = listeners["bad"].error()
    assert type(error) is Internal
    assert "detail" not in str(error)
    assert listeners["a"].result() == "a after 3"
    assert listeners["b"].result() == "b after 3"
    assert stage.batches[1:5] == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]


def test_a_row_alone_is_not_tried_twice(make_engine: MakeEngine, stage: ToyStage) -> None:
    def fail(rows: Sequence[ToyRow]) -> None:
        raise ValueError

    stage.on_step = fail
    engine = make_engine(2)
    engine.start()

    assert type(submit(engine, Task("a"))[1].error()) is Internal
    assert stage.batches == [["a"]]


def test_a_row_that_a_failed_batch_moved_is_not_moved_again(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def half_way(rows: Sequence[ToyRow]) -> None:
        if len(rows) == 2:
            rows[0].step += 1
            raise ValueError

    stage.on_step = half_way
    engine = make_engine(2)
    _, moved = submit(engine, Task("moved"))
    _, unmoved = submit(engine, Task("unmoved"))
    engine.start()

    assert type(moved.error()) is Internal
    assert unmoved.result() == "unmoved after 3"
    assert stage.steps_of("moved") == 1


def test_a_stage_that_counts_no_step_fails_instead_of_running_for_ever(
    make_engine: MakeEngine, stage: ToyStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "advance", lambda rows: None)
    engine = make_engine(1)
    engine.start()

    assert type(submit(engine, Task("a"))[1].error()) is Internal


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (RuntimeError("shapes differ"), "internal"),
        (NonFiniteLatent("NaN"), "non_finite_latent"),
        (SystemExit(), "internal"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
@pytest.mark.parametrize("hook", ["on_admit", "on_step", "on_result"])
def test_whatever_a_stage_raises_becomes_our_error(
    make_engine: MakeEngine, stage: ToyStage, hook: str, cause: BaseException, code: str
) -> None:
    def fail(_: object) -> None:
        raise cause

    setattr(stage, hook, fail)
    engine = make_engine(1)
    engine.start()
    error = submit(engine, Task("a"))[1].error()

    assert error.code == code
    assert error.__traceback__ is None
    assert error.__cause__ is None
    assert error.__context__ is None
    assert engine.is_alive()


def test_unexpected_failures_are_logged_with_their_cause(
    make_engine: MakeEngine, stage: ToyStage, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(rows: Sequence[ToyRow]) -> None:
        raise ValueError("weights have moths")

    stage.on_step = fail
    engine = make_engine(1)
    engine.start()
    submit(engine, Task("a"))[1].error()

    assert "weights have moths" in caplog.text


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


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_listener_that_raises_harms_nobody(
    make_engine: MakeEngine, error: type[BaseException]
) -> None:
    def raise_always(event: Event) -> None:
        raise error

    engine = make_engine(2)
    engine.submit(Task("deaf"), raise_always)
    _, listener = submit(engine, Task("a"))
    engine.start()

    assert listener.result() == "a after 3"
    assert submit(engine, Task("b"))[1].result() == "b after 3"
    assert engine.stats().finished == 3


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
        assert go_on.wait(PATIENCE_S)

    stage.on_step = hold
    engine.start()
    assert inside.wait(PATIENCE_S)
    closer = threading.Thread(target=engine.close)
    closer.start()
    while engine.is_alive():
        pass
    with pytest.raises(NotReady):
        engine.submit(Task("late"), Listener())
    go_on.set()
    closer.join(PATIENCE_S)

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
        together.wait(PATIENCE_S)
        for index in range(25):
            task = Task(f"{number}-{index}", steps=1 + index % 4, bucket=(index % 3,))
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
        thread.join(PATIENCE_S)
    engine.close()

    listeners = [listener for group in ended for listener in group]
    ends = [listener.events[-1] for listener in listeners]
    stats = engine.stats()
    assert all(isinstance(end, Finished | Failed) for end in ends)
    assert all(listener.is_silent() for listener in listeners)
    assert stats.finished + stats.cancelled == len(ends) == 100
    assert stats.failed == 0


class HandClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_times_are_counted_from_submission_and_admission(stage: ToyStage) -> None:
    clock = HandClock()
    engine: Engine = StepEngine(stage, 1, clock)

    def take(seconds: float) -> None:
        clock.now_s += seconds

    stage.on_admit = lambda task: take(1.0)
    stage.on_step = lambda rows: take(2.0)
    _, listener = submit(engine, Task("a", steps=3))
    take(10.0)
    engine.start()
    end = listener.end()
    engine.close()

    started = listener.events[0]
    assert isinstance(started, Started)
    assert isinstance(end, Finished)
    assert started.waited_s == 10.0
    assert end.seconds == 7.0
    assert engine.stats().seconds_per_step == 2.0
    assert engine.stats().stage_s == 7.0
    assert engine.stats().own_s == 0.0


def test_a_stage_that_does_not_answer_shows_in_the_age_of_progress(stage: ToyStage) -> None:
    clock = HandClock()
    engine: Engine = StepEngine(stage, 1, clock)
    ages: list[float] = []

    def hang(rows: Sequence[ToyRow]) -> None:
        clock.now_s += 60.0
        ages.append(engine.last_progress_age_s())

    stage.on_step = hang
    _, listener = submit(engine, Task("a", steps=2))
    engine.start()
    listener.end()
    engine.close()
    clock.now_s += 60.0

    assert ages == [60.0, 60.0]
    assert engine.last_progress_age_s() == 0.0


def test_counters_tell_what_happened(make_engine: MakeEngine, stage: ToyStage) -> None:
    engine = make_engine(2)
    work, _ = submit(engine, Task("gone"))
    work.cancel()
    listeners = [submit(engine, Task(name, steps=2))[1] for name in "abc"]
    assert engine.stats().rows_waiting == 4
    running: list[tuple[int, int]] = []

    def look(rows: Sequence[ToyRow]) -> None:
        running.append((engine.stats().rows_running, engine.stats().rows_waiting))

    stage.on_step = look
    engine.start()
    for listener in listeners:
        listener.result()
    engine.close()
    stats = engine.stats()

    assert running[0] == (2, 1)
    assert (stats.finished, stats.failed, stats.cancelled) == (3, 0, 1)
    assert (stats.steps_done, stats.row_steps_done) == (4, 6)
    assert (stats.rows_running, stats.rows_waiting) == (0, 0)


def test_an_engine_needs_room_for_one_row(stage: ToyStage) -> None:
    with pytest.raises(SettingsInvalid):
        StepEngine(stage, 0)


def test_retries_of_single_rows_do_not_keep_the_failed_batch_in_memory(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    class Activations:
        alive = 0

        def __init__(self) -> None:
            Activations.alive += 1

        def __del__(self) -> None:
            Activations.alive -= 1

    alive_at_start: list[int] = []

    def run_out(rows: Sequence[ToyRow]) -> None:
        alive_at_start.append(Activations.alive)
        activations = Activations()
        if len(rows) > 1:
            raise OutOfMemoryError(f"no room for {activations}")

    stage.on_step = run_out
    engine = make_engine(2)
    listeners = [submit(engine, Task(name, steps=1))[1] for name in "ab"]
    engine.start()

    assert [listener.result() for listener in listeners] == ["a after 1", "b after 1"]
    assert alive_at_start == [0, 0, 0]


def test_memory_running_out_for_one_row_is_retryable(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def run_out(rows: Sequence[ToyRow]) -> None:
        raise OutOfMemoryError

    stage.on_step = run_out
    engine = make_engine(1)
    engine.start()

    assert submit(engine, Task("a"))[1].error().retryable
    assert OutOfMemory.retryable


def test_the_engine_runs_without_torch() -> None:
    code = "import sys, cascade_core.engine; sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
