from collections.abc import Sequence

from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Finished, Started
from tests.cascade_core.toy_stage import (
    Engine,
    HandClock,
    MakeEngine,
    Task,
    ToyRow,
    ToyStage,
    submit,
)


def test_times_are_counted_from_submission_and_from_the_end_of_admission(stage: ToyStage) -> None:
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
    assert end.seconds == 6.0
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
    assert (stats.steps_launched, stats.row_steps_launched) == (4, 6)
    assert (stats.rows_running, stats.rows_waiting) == (0, 0)
