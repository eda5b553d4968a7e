from collections.abc import Sequence

import pytest

from cascade_core.engine.events import Event, Failed, Started
from cascade_core.errors import (
    Internal,
    InvalidRequest,
    NonFiniteLatent,
    OutOfMemory,
)
from tests.cascade_core.toy_stage import (
    MakeEngine,
    OutOfMemoryError,
    Task,
    ToyRow,
    ToyStage,
    submit,
)


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
