"""Steps of Würstchen's stages make the CPU wait for nothing either; see test_no_waits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import model_ref
from cascade_core.handoff import WuerstchenLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.sampling.step_tables import CosineSchedule
from cascade_core.stages.tensors import to_handoff
from cascade_core.stages.wuerstchen_b import WuerstchenB, WuerstchenBTask
from cascade_core.stages.wuerstchen_c import Scaling, WuerstchenC, WuerstchenCTask
from tests.cascade_core.stages.test_no_waits import BATCHES, META, run_all, watched
from tests.tiny_wuerstchen import DECODER_TEXT, PRIOR_TEXT


class Texts:
    """Stands for a text encoder, whose work ends with the admission."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def encode(self, _prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        states = torch.zeros(1, 40, self.channels, device=META)
        return states, states[:, 0]


@pytest.mark.parametrize("batch", BATCHES)
def test_a_step_of_the_prior_waits_for_no_copy_and_reads_no_value(
    batch: str, wuerstchen_checkpoint: Checkpoint, wuerstchen_pipeline: CascadePipeline
) -> None:
    network = copy.deepcopy(wuerstchen_pipeline.stages["c"]._network).to(META)
    texts: Any = Texts(PRIOR_TEXT)
    scaling, schedule = Scaling(42.0, 1.0), CosineSchedule()
    stage = WuerstchenC(wuerstchen_checkpoint, network, texts, schedule, None, scaling)
    rows = [stage.admit(WuerstchenCTask(request)) for request in BATCHES[batch]]
    assert watched(lambda: run_all(stage, rows)) == []


@pytest.mark.parametrize("batch", BATCHES)
def test_a_step_of_the_decoder_waits_for_no_copy_and_reads_no_value(
    batch: str, wuerstchen_checkpoint: Checkpoint, wuerstchen_pipeline: CascadePipeline
) -> None:
    network = copy.deepcopy(wuerstchen_pipeline.stages["b"]._network).to(META)
    texts: Any = Texts(DECODER_TEXT)
    stage = WuerstchenB(wuerstchen_checkpoint, network, texts, CosineSchedule(), None)
    geometry, tasks = wuerstchen_checkpoint.geometry, []
    for request in BATCHES[batch]:
        hw = geometry.stage_c_hw(request.height, request.width)
        latent = WuerstchenLatent(
            latents_chw=to_handoff(torch.zeros(16, *hw)),
            factor=42.0,
            offset=1.0,
            geometry=geometry,
            model=model_ref(wuerstchen_checkpoint),
            request=request,
        )
        tasks.append(WuerstchenBTask(latent, request))
    rows = [stage.admit(task) for task in tasks]
    assert watched(lambda: run_all(stage, rows)) == []
