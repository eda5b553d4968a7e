"""Memory that really runs out on a GPU, and a GPU that really fails."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence

import pytest
import torch

from cascade_core.engine.engine import StepEngine
from tests.cascade_core.toy_stage import Task, ToyRow, ToyStage, submit
from tests.limits import HANG_S

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LIMIT_BYTES = 2**30


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Lets this process take one GiB of the device."""
    total_bytes = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(LIMIT_BYTES / total_bytes)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


class GreedyStage(ToyStage):
    """Needs two fifths of what is there for each row."""

    def advance(self, rows: Sequence[ToyRow]) -> None:
        self.batches.append([row.name for row in rows])
        activations = torch.ones(len(rows) * LIMIT_BYTES * 2 // 5, dtype=torch.uint8, device="cuda")
        assert int(activations[-1]) == 1
        for row in rows:
            row.step += 1

    def free_memory(self) -> None:
        super().free_memory()
        torch.cuda.empty_cache()


@pytest.mark.usefixtures("little_memory")
def test_a_batch_too_large_for_the_gpu_is_halved_and_every_row_finishes() -> None:
    stage = GreedyStage()
    engine = StepEngine(stage, max_rows=4)
    listeners = [submit(engine, Task(name, steps=2))[1] for name in "abcd"]
    engine.start()
    try:
        assert [listener.result() for listener in listeners] == [f"{n} after 2" for n in "abcd"]
    finally:
        engine.close()
    assert [len(batch) for batch in stage.batches] == [4, 2, 2, 2, 2]
    assert stage.frees == 1
    assert torch.cuda.max_memory_allocated() <= LIMIT_BYTES


def fail_on_the_device(codes: multiprocessing.Queue[list[str]]) -> None:
    """Run two tasks through a stage that reads beyond a tensor's end; sends how they failed."""

    def step(rows: Sequence[ToyRow]) -> None:
        table = torch.zeros(4, device="cuda")
        print(table[torch.tensor([2**20], device="cuda")])

    engine = StepEngine(ToyStage(on_step=step), max_rows=1)
    listeners = [submit(engine, Task(name))[1] for name in "ab"]
    engine.start()
    codes.put([listener.error().code for listener in listeners])


def test_a_failed_gpu_is_not_used_again() -> None:
    context = multiprocessing.get_context("spawn")
    codes = context.Queue()
    process = context.Process(target=fail_on_the_device, args=(codes,))
    process.start()
    assert codes.get(timeout=HANG_S) == ["stage_lost", "not_ready"]
    process.join()
