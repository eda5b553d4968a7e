"""Steps of Stages C and B make the CPU wait for nothing: all that they read lies on the device.

Here the device is torch's ``meta``, which has shapes and no values: a value that is read back
raises, and a tensor of the CPU shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import model_ref
from cascade_core.handoff import StageCLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.sampling.step_tables import CosineSchedule
from cascade_core.stages.stage_b import StageB, StageBTask
from cascade_core.stages.stage_c import StageC, StageCTask
from cascade_core.stages.tensors import to_handoff
from tests.tiny_model import POOLED_CHANNELS, TEXT_CHANNELS

META = torch.device("meta")
WAITS = (
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.equal.default,
)
COPIES = (torch.tensor, torch.as_tensor, torch.from_numpy)
REQUEST = GenerationRequest(
    prompt="a red cat",
    width=384,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=5,
    guidance_scale=3.0,
    decoder_steps=5,
    decoder_guidance_scale=2.0,
)
UNGUIDED = replace(REQUEST, guidance_scale=0.0, decoder_guidance_scale=1.0)
SHORT = replace(UNGUIDED, steps=3, decoder_steps=3)
BATCHES = {
    "guided": [REQUEST],
    "unguided": [UNGUIDED],
    "mixed": [SHORT, REQUEST, UNGUIDED, replace(REQUEST, steps=4, decoder_steps=4)],
}


class Operations(TorchDispatchMode):
    """Notes each operation that waits for a value, or meets another device than the model's."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        answer = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, answer))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if func in WAITS or any(tensor.device != META for tensor in tensors):
            self.found.append(str(func))
        return answer


class Copies(TorchFunctionMode):
    """Notes each tensor that is made of Python's numbers: no operation shows that it is copied."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in COPIES:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def watched(work: Callable[[], object]) -> list[str]:
    """Return what in a piece of work would make the CPU wait for a GPU."""
    found: list[str] = []
    with Copies(found), Operations(found) as operations:
        work()
    assert operations.count > 0
    return found


class Texts:
    """Stands for the text encoder, whose work ends with the admission."""

    def encode(self, _prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        text = torch.zeros(1, 77, TEXT_CHANNELS, device=META)
        return text, torch.zeros(1, 1, POOLED_CHANNELS, device=META)


@pytest.fixture
def stage_c(tiny_checkpoint: Checkpoint, tiny_pipeline: CascadePipeline) -> StageC:
    unet = copy.deepcopy(tiny_pipeline.stages["c"]._unet).to(META)
    texts: Any = Texts()
    return StageC(tiny_checkpoint, unet, texts, CosineSchedule(), None)


@pytest.fixture
def stage_b(tiny_checkpoint: Checkpoint, tiny_pipeline: CascadePipeline) -> StageB:
    unet = copy.deepcopy(tiny_pipeline.stages["b"]._unet).to(META)
    return StageB(tiny_checkpoint, unet, CosineSchedule(), None)


def task_of_b(checkpoint: Checkpoint, request: GenerationRequest) -> StageBTask:
    pooled = to_handoff(torch.zeros(1, POOLED_CHANNELS))
    hw = checkpoint.geometry.stage_c_hw(request.height, request.width)
    latent = StageCLatent(
        latents_chw=to_handoff(torch.zeros(16, *hw)),
        pooled=pooled,
        negative_pooled=pooled,
        geometry=checkpoint.geometry,
        model=model_ref(checkpoint),
        request=request,
    )
    return StageBTask(latent, request)


def run_all(stage: Any, rows: Sequence[Any]) -> None:
    """Run rows to their ends, the first one step ahead of the others."""
    stage.advance(rows[:1])
    while left := [row for row in rows if row.step < row.steps]:
        stage.advance(left)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_step_of_stage_c_waits_for_no_copy_and_reads_no_value(
    batch: str, stage_c: StageC
) -> None:
    rows = [stage_c.admit(StageCTask(request)) for request in BATCHES[batch]]
    assert watched(lambda: run_all(stage_c, rows)) == []


def test_a_start_from_a_latent_waits_for_no_copy_and_reads_no_value(
    stage_c: StageC, tiny_checkpoint: Checkpoint
) -> None:
    latent = task_of_b(tiny_checkpoint, REQUEST).latent
    varied = replace(REQUEST, kind="vary", latent_id="x", strength=0.7)
    starts = [StageCTask(REQUEST), StageCTask(varied, latent)]
    rows = [stage_c.admit(task) for task in starts]
    assert [row.steps for row in rows] == [5, 4]
    assert watched(lambda: run_all(stage_c, rows)) == []


@pytest.mark.parametrize("batch", BATCHES)
def test_a_step_of_stage_b_waits_for_no_copy_and_reads_no_value(
    batch: str, stage_b: StageB, tiny_checkpoint: Checkpoint
) -> None:
    tasks = [task_of_b(tiny_checkpoint, request) for request in BATCHES[batch]]
    rows = [stage_b.admit(task) for task in tasks]
    assert watched(lambda: run_all(stage_b, rows)) == []


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.tensor([1.0], device=META),
        lambda: torch.zeros(1).to(META),
        lambda: torch.zeros(2, device=META) + torch.zeros(()),
        lambda: float(torch.zeros(1)),
        lambda: torch.zeros(1, device=META).copy_(torch.zeros(1)),
    ],
    ids=["made", "moved", "mixed", "read", "filled"],
)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_what_would_make_the_cpu_wait_is_seen(
    work: Callable[[], object], mode: Callable[[], AbstractContextManager[None]]
) -> None:
    with mode():
        assert watched(lambda: [torch.zeros(1, device=META), work()]) != []


def test_a_value_that_is_read_from_the_device_raises_here() -> None:
    with pytest.raises(RuntimeError, match=r"meta tensor|item\(\)"):
        watched(lambda: float(torch.zeros(1, device=META)))
