"""Memory that runs out, and devices that fail: what the engine does about both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
import torch

from cascade_core.engine import row_limits as memory
from cascade_core.engine.engine import StepEngine
from cascade_core.engine.row_limits import RESTART_AFTER
from cascade_core.errors import NotReady, OutOfMemory, StageLost
from tests.cascade_core.toy_stage import MakeEngine, Task, ToyRow, ToyStage, submit
from tests.limits import HANG_S

BROKEN = torch.AcceleratorError("CUDA error: device-side assert triggered")


def room_for(rows: int) -> Callable[[Sequence[ToyRow]], None]:
    def step(batch: Sequence[ToyRow]) -> None:
        if len(batch) > rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    return step


def test_a_batch_for_which_memory_runs_out_is_halved_and_every_row_finishes(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    stage.on_step = room_for(2)
    engine = make_engine(4)
    listeners = [submit(engine, Task(name, steps=2))[1] for name in "abcd"]
    engine.start()

    assert [listener.result() for listener in listeners] == [f"{name} after 2" for name in "abcd"]
    assert [len(batch) for batch in stage.batches] == [4, 2, 2, 2, 2]
    assert stage.frees == 1


def test_a_row_that_does_not_fit_beside_others_may_come_again_and_its_size_is_not_too_large(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def admit(task: Task) -> None:
        if task.name == "large":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    stage.on_admit = admit
    engine = make_engine(2)
    beside = submit(engine, Task("small"))[1], submit(engine, Task("large"))[1]
    engine.start()

    assert type(beside[1].error()) is NotReady
    assert beside[0].result() == "small after 3"
    assert type(submit(engine, Task("large"))[1].error()) is OutOfMemory


def test_later_batches_of_that_size_start_small_and_others_do_not(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def step(batch: Sequence[ToyRow]) -> None:
        if batch[0].bucket == (9,):
            room_for(1)(batch)

    stage.on_step = step
    engine = make_engine(2)
    large = [submit(engine, Task(name, 1, bucket=(9,)))[1] for name in "ab"]
    small = [submit(engine, Task(name, 1, bucket=(1,)))[1] for name in "cd"]
    more = [submit(engine, Task(name, 1, bucket=(9,)))[1] for name in "ef"]
    engine.start()

    for listener in [*large, *small, *more]:
        listener.result()
    assert [len(batch) for batch in stage.batches] == [2, 1, 1, 2, 1, 1]


def test_a_row_too_large_for_the_device_fails_alone_and_the_engine_goes_on(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def step(batch: Sequence[ToyRow]) -> None:
        if any(row.name == "huge" for row in batch):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    stage.on_step = step
    engine = make_engine(3)
    listeners = {name: submit(engine, Task(name))[1] for name in ("a", "huge", "b")}
    engine.start()

    assert type(listeners["huge"].error()) is OutOfMemory
    assert listeners["a"].result() == "a after 3"
    assert listeners["b"].result() == "b after 3"
    assert engine.is_alive()


def test_after_a_row_did_not_fit_others_of_its_size_are_sent_elsewhere_for_a_while(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    stage.on_step = room_for(0)
    engine = make_engine(1)
    engine.start()

    assert submit(engine, Task("a"))[1].error().code == "out_of_memory"
    assert submit(engine, Task("b"))[1].error().code == "not_ready"
    assert submit(engine, Task("c", bucket=(2,)))[1].error().code == "out_of_memory"
    assert stage.batches == [["a"], ["c"]]


def test_an_engine_whose_memory_needs_restart_closes_itself(
    stage: ToyStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "REFUSE_S", 0.0)
    engine = StepEngine(stage, max_rows=1)
    engine.start()
    assert submit(engine, Task("before"))[1].result()
    stage.on_step = room_for(0)
    tasks = [submit(engine, Task(f"{number}"))[1] for number in range(RESTART_AFTER + 1)]

    codes = [task.error().code for task in tasks]
    assert codes == ["out_of_memory"] * RESTART_AFTER + ["not_ready"]
    with pytest.raises(NotReady):
        submit(engine, Task("late"))
    engine.close()
    assert not engine.is_alive()


@pytest.mark.parametrize(
    "cause",
    [
        BROKEN,
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
    ids=str,
)
def test_a_lost_device_closes_the_engine_and_blames_the_rows_of_the_last_step_only(
    make_engine: MakeEngine, stage: ToyStage, cause: Exception
) -> None:
    def fail(rows: Sequence[ToyRow]) -> None:
        raise cause

    stage.on_step = fail
    engine = make_engine(2)
    listeners = [
        submit(engine, Task("a"))[1],
        submit(engine, Task("b", bucket=(2,)))[1],
        submit(engine, Task("waiting"))[1],
    ]
    engine.start()

    assert [type(listener.error()) for listener in listeners] == [StageLost, NotReady, NotReady]
    assert stage.batches == [["a"]]
    with pytest.raises(NotReady):
        submit(engine, Task("late"))


def test_a_device_that_reports_its_failure_late_is_not_used_again(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    def fail(row: ToyRow) -> None:
        raise BROKEN

    stage.on_preview = fail
    engine = make_engine(1)
    engine.start()

    assert type(submit(engine, Task("a"), previews=1)[1].error()) is StageLost
    assert len(stage.batches) == 2  # its preview came after the second step


@pytest.mark.parametrize(
    "cause",
    [
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=str,
)
def test_memory_that_runs_out_in_a_library_of_the_device_is_no_lost_device(
    make_engine: MakeEngine, stage: ToyStage, cause: Exception
) -> None:
    def fail(rows: Sequence[ToyRow]) -> None:
        raise cause

    stage.on_step = fail
    engine = make_engine(1)
    engine.start()

    assert type(submit(engine, Task("a"))[1].error()) is OutOfMemory
    assert engine.is_alive()


def test_a_row_cancelled_while_its_batch_is_halved_is_not_advanced_again(
    make_engine: MakeEngine, stage: ToyStage
) -> None:
    failed, cancelled = threading.Event(), threading.Event()

    def step(batch: Sequence[ToyRow]) -> None:
        if len(batch) > 1:
            failed.set()
            assert cancelled.wait(HANG_S)
            room_for(1)(batch)

    stage.on_step = step
    engine = make_engine(2)
    _, stays = submit(engine, Task("stays", steps=1))
    work, leaves = submit(engine, Task("leaves", steps=1))
    engine.start()
    assert failed.wait(HANG_S)
    work.cancel()
    cancelled.set()

    assert stays.result() == "stays after 1"
    assert leaves.error().code == "cancelled"
    assert stage.batches == [["stays", "leaves"], ["stays"]]
