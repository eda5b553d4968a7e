"""Steps on a real GPU: nothing in them waits for it, and the engine tells what it has done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Stepped
from cascade_core.request import GenerationRequest
from cascade_core.sampling import noise
from cascade_core.sampling.noise import NoiseStream
from cascade_core.stages.base import Preparation
from cascade_core.stages.stage_b import StageB, StageBTask
from cascade_core.stages.stage_c import StageC, StageCTask
from tests.cascade_core.toy_stage import Listener

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
REQUEST = GenerationRequest(
    prompt="a red cat",
    width=256,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=6,
    guidance_scale=3.0,
    decoder_steps=6,
    decoder_guidance_scale=2.0,
)
MIXED = (
    REQUEST,
    replace(REQUEST, steps=4, guidance_scale=0.0, decoder_guidance_scale=0.0, seed=3),
    replace(REQUEST, prompt="42 hats", steps=3, decoder_steps=4, decoder_seed=4),
)
TOLERANCE = 2e-2
"""Of a latent's largest value: sums on a GPU depend on the size of their batch."""


@contextmanager
def waits_forbidden() -> Iterator[None]:
    """Raise where the CPU would wait for the GPU, by torch's own account."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def stage_c(tiny_checkpoint: Checkpoint) -> StageC:
    return StageC.load(tiny_checkpoint, Placement("cuda", "float32"))


@pytest.fixture
def stage_b(tiny_checkpoint: Checkpoint) -> StageB:
    return StageB.load(tiny_checkpoint, Placement("cuda", "float32"), with_previews=False)


def run_alone(stage: Any, task: Any) -> Any:
    row = stage.admit(task)
    while row.step < row.steps:
        stage.advance([row])
    return stage.result(row)


def run_watched(stage: Any, tasks: list[Any]) -> None:
    """Run rows together, the first one a step ahead, with nothing that waits in any step."""
    rows = [stage.admit(task) for task in tasks]
    stage.advance(rows)  # what torch sets up in a first step may wait
    with waits_forbidden():
        while left := [row for row in rows if row.step < row.steps]:
            stage.advance(left)
    for row in rows:
        stage.result(row)


def test_no_step_of_stage_c_waits_for_the_gpu(stage_c: StageC) -> None:
    run_watched(stage_c, [*map(StageCTask, MIXED)])


def test_no_step_of_stage_b_waits_for_the_gpu(stage_c: StageC, stage_b: StageB) -> None:
    tasks = [StageBTask(run_alone(stage_c, StageCTask(request)), request) for request in MIXED]
    run_watched(stage_b, tasks)


def test_no_admission_waits_for_the_gpu(stage_c: StageC, stage_b: StageB) -> None:
    latent = run_alone(stage_c, StageCTask(REQUEST))
    run_alone(stage_b, StageBTask(latent, REQUEST))
    new = replace(REQUEST, prompt="another text", steps=9, decoder_steps=9)
    with waits_forbidden():
        stage_c.admit(StageCTask(new))
        stage_c.admit(StageCTask(replace(new, kind="vary", latent_id="x", strength=0.7), latent))
        stage_b.admit(StageBTask(latent, new))


def test_what_waits_is_seen() -> None:
    with waits_forbidden(), pytest.raises(RuntimeError, match="synchronizing"):
        torch.tensor([1.0], device="cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_draws_on_the_gpu_are_those_of_the_cpu(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, draws = (1, 4, 16, 16), 7
    monkeypatch.setattr(noise, "BLOCK_BYTES", 3 * 4 * 16 * 16 * dtype.itemsize)
    on_gpu = NoiseStream(5, shape, dtype, torch.device("cuda"), draws)
    on_cpu = NoiseStream(5, shape, dtype, torch.device("cpu"), draws)
    for _ in range(draws):
        drawn = on_gpu.draw()
        assert drawn.device.type == "cuda"
        assert torch.equal(drawn.cpu(), on_cpu.draw())


def test_the_engine_runs_ahead_of_the_gpu_and_changes_no_result(stage_c: StageC) -> None:
    engine = StepEngine(stage_c, max_rows=2)
    engine.start()
    listeners = [Listener() for _ in MIXED]
    for request, listener in zip(MIXED, listeners, strict=True):
        engine.submit(StageCTask(request), listener)
    ends: list[Any] = [listener.end() for listener in listeners]
    engine.close()

    assert engine.stats().seconds_per_step > 0
    for request, listener, end in zip(MIXED, listeners, ends, strict=True):
        told = [event.step for event in listener.events if isinstance(event, Stepped)]
        assert told == list(range(1, request.steps + 1))
        alone = run_alone(stage_c, StageCTask(request)).latents_chw.array
        difference = np.abs(end.result.latents_chw.array - alone).max()
        assert difference <= TOLERANCE * np.abs(alone).max()


def test_the_seconds_of_a_step_are_those_of_the_gpu(stage_c: StageC) -> None:
    row = stage_c.admit(StageCTask(REQUEST))
    stage_c.advance([row])
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    step = stage_c.advance([row])
    end.record()
    assert step is not None
    end.synchronize()
    assert 0 < step.wait() <= begin.elapsed_time(end) / 1e3


PREPARATIONS = {
    "recorded": Preparation(((256, 256),), max_rows=3, graph_bytes=2**30),
    "recorded within too little memory": Preparation(((256, 256),), max_rows=3, graph_bytes=1),
    "compiled": Preparation(compiles=True),
    "compiled and recorded": Preparation(((256, 256),), 3, compiles=True, graph_bytes=2**30),
}


@pytest.mark.parametrize("how", PREPARATIONS)
def test_prepared_steps_answer_as_plain_ones_and_wait_for_nothing(
    how: str, stage_c: StageC, tiny_checkpoint: Checkpoint
) -> None:
    prepared = StageC.load(tiny_checkpoint, Placement("cuda", "float32"))
    prepared.prepare(PREPARATIONS[how])
    prepared.warm_up()
    rows = {stage: [stage.admit(StageCTask(one)) for one in MIXED] for stage in (stage_c, prepared)}
    for stage, left in rows.items():
        stage.advance(left)  # what torch sets up in a first step may wait
        with waits_forbidden():
            while left := [row for row in left if row.step < row.steps]:
                stage.advance(left)
    for row, plain in zip(rows[prepared], rows[stage_c], strict=True):
        difference = (row.latents_bchw - plain.latents_bchw).abs().max()
        assert float(difference) <= TOLERANCE * float(plain.latents_bchw.abs().max())


def test_graphs_stay_within_their_memory(tiny_checkpoint: Checkpoint) -> None:
    limit_bytes = 64 * 2**20
    stage = StageC.load(tiny_checkpoint, Placement("cuda", "float32"))
    stage.warm_up()
    torch.cuda.empty_cache()
    before_bytes = torch.cuda.memory_reserved()
    stage.prepare(Preparation(((256, 256), (512, 512)), 2, graph_bytes=limit_bytes))
    stage.warm_up()
    torch.cuda.empty_cache()
    # What kernels keep for themselves comes on top, once.
    assert torch.cuda.memory_reserved() - before_bytes <= 2 * limit_bytes
