"""Diffusers' modules behind the interface of our networks: the oracle of the parity tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.conditioning.text import TextEncoder
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.sampling.sampler import CosineSchedule
from cascade_core.stages.stage_a import StageA
from cascade_core.stages.stage_b import StageB
from cascade_core.stages.stage_c import StageC
from tests.tiny_model import TinyModel


class _Stock:
    def __init__(self, module: Any) -> None:
        self.module = module
        self.config, self.device, self.dtype = module.config, module.device, module.dtype


class StockUnet(_Stock):
    """Diffusers' StableCascadeUNet, called as our U-Net is."""

    def time_table(self, times: torch.Tensor) -> torch.Tensor:
        """Return the times themselves."""
        return times[:, None]

    def hold(self, _latent_hw: tuple[int, int], **conditioning: Any) -> dict[str, Any]:
        """Return the conditioning under diffusers' names."""
        names = {"pooled": "clip_text_pooled", "text": "clip_text", "image": "clip_img"}
        return {names.get(name, name): value for name, value in conditioning.items()}

    def __call__(
        self, latents_bchw: torch.Tensor, times_bt: torch.Tensor, held: Sequence[Any]
    ) -> torch.Tensor:
        """Return the predicted noise."""
        conditioning = {name: torch.cat([one[name] for one in held]) for name in held[0]}
        predicted: torch.Tensor = self.module(
            sample=latents_bchw, timestep_ratio=times_bt[:, 0], return_dict=False, **conditioning
        )[0]
        return predicted


class StockDecoder(_Stock):
    """Diffusers' PaellaVQModel, called as our decoder is."""

    def __call__(self, latents_bchw: torch.Tensor) -> torch.Tensor:
        """Return pixels."""
        decoded: torch.Tensor = self.module.decode(self.config.scale_factor * latents_bchw).sample
        return decoded


def stock_modules_pipeline(checkpoint: Checkpoint, model: TinyModel) -> CascadePipeline:
    """Return our stages and our loops around diffusers' modules."""
    schedule, stage_a = CosineSchedule(), StockDecoder(model.vqgan)
    text = TextEncoder(model.tokenizer, model.text_encoder)
    stages: dict[str, Any] = {
        "c": StageC(checkpoint, StockUnet(model.prior), text, schedule, None),  # type: ignore[arg-type]
        "b": StageB(checkpoint, StockUnet(model.decoder), schedule, stage_a),  # type: ignore[arg-type]
        "a": StageA(checkpoint, stage_a),  # type: ignore[arg-type]
    }
    return CascadePipeline(STABLE_CASCADE, stages)
