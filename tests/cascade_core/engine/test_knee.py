"""What the start measures about steps that rows share, and what it must not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import pytest
import torch

from cascade_core.engine.engine import StepEngine
from cascade_core.engine.knee import BUDGET_S, find_knee
from cascade_core.errors import Internal
from tests.cascade_core.toy_stage import Engine, HandClock, Task, ToyRow, ToyStage, submit

FALLING_UP_TO_4 = {1: 0.010, 2: 0.016, 4: 0.028, 8: 0.056}
FALLING_UP_TO_6 = {1: 0.010, 2: 0.016, 4: 0.028, 6: 0.036}


def engine_of(
    stage: ToyStage, step_s: Mapping[int, float], max_rows: int, warm_up_s: float = 0.0
) -> Engine:
    """Return an engine whose stage takes these seconds for a step, by its rows."""
    clock = HandClock()

    def take(rows: Sequence[ToyRow]) -> None:
        clock.now_s += step_s[len(rows)]

    def warm_up() -> None:
        clock.now_s += warm_up_s

    stage.on_warm_up = warm_up
    stage.warm_up_task = Task("warm-up", steps=1)
    stage.on_step = take
    return StepEngine(stage, max_rows, clock)


@pytest.mark.parametrize(
    ("step_s", "max_rows", "knee"),
    [
        (FALLING_UP_TO_4, 8, 4),
        (FALLING_UP_TO_6, 6, 6),
        ({1: 1.0, 2: 1.89}, 2, 2),
        ({1: 1.0, 2: 1.91}, 2, 1),
        ({1: 1.0, 2: 2.0, 4: 1.0}, 4, 1),
        ({1: 1.0, 2: 1.5, 4: inf}, 8, 2),
    ],
)
def test_more_rows_pay_while_they_shorten_the_time_of_each_by_5_percent(
    step_s: dict[int, float], max_rows: int, knee: int
) -> None:
    assert find_knee(step_s, max_rows) == knee


@pytest.mark.parametrize("step_s", [{}, {1: 1.0}, {1: inf}, {1: 1.0, 2: 1.5}])
def test_times_that_end_while_more_rows_still_pay_give_no_knee(step_s: dict[int, float]) -> None:
    assert find_knee(step_s, 4) == 0


def test_the_start_reports_the_knee_and_changes_no_batch(stage: ToyStage) -> None:
    engine = engine_of(stage, FALLING_UP_TO_4, max_rows=8)
    listeners = [submit(engine, Task(str(number), steps=1))[1] for number in range(8)]
    engine.start()
    for listener in listeners:
        listener.result()
    engine.close()

    assert engine.stats().knee_rows == 4
    assert [len(batch) for batch in stage.batches] == [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8]
    assert engine.stats().own_s == 0.0


def test_the_last_step_that_is_timed_has_as_many_rows_as_may_share_one(stage: ToyStage) -> None:
    engine = engine_of(stage, FALLING_UP_TO_6, max_rows=6)
    engine.start()
    engine.close()

    assert [len(batch) for batch in stage.batches] == [1, 1, 1, 2, 2, 2, 4, 4, 4, 6, 6, 6]
    assert engine.stats().knee_rows == 6


def test_nothing_is_timed_where_rows_never_share_a_step(stage: ToyStage) -> None:
    engine = engine_of(stage, FALLING_UP_TO_4, max_rows=1)
    engine.start()
    engine.close()

    assert stage.batches == []
    assert engine.stats().knee_rows == 0


def test_a_warm_up_that_takes_all_the_time_leaves_the_knee_unmeasured(stage: ToyStage) -> None:
    engine = engine_of(stage, FALLING_UP_TO_4, max_rows=8, warm_up_s=BUDGET_S)
    engine.start()
    engine.close()

    assert stage.batches == []
    assert engine.stats().knee_rows == 0


def test_a_slow_stage_is_timed_for_seconds_only(stage: ToyStage) -> None:
    engine = engine_of(stage, {1: 1.0, 2: 1.6, 4: 2.8}, max_rows=16)
    engine.start()
    engine.close()

    assert [len(batch) for batch in stage.batches] == [1, 1, 1, 2, 2, 2]
    assert engine.stats().knee_rows == 0


def test_memory_that_ends_during_the_measurement_ends_only_that(stage: ToyStage) -> None:
    def step(rows: Sequence[ToyRow]) -> None:
        if len(rows) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    engine = engine_of(stage, {}, max_rows=4)
    stage.on_step = step
    engine.start()

    assert engine.stats().knee_rows == 2
    assert submit(engine, Task("a"))[1].result() == "a after 3"
    engine.close()


def test_a_stage_that_fails_the_measurement_does_not_start(stage: ToyStage) -> None:
    def fail(rows: Sequence[ToyRow]) -> None:
        raise ValueError

    engine = engine_of(stage, {}, max_rows=4)
    stage.on_step = fail
    with pytest.raises(Internal):
        engine.start()
    engine.close()
