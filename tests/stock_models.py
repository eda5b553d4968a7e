"""Modules of diffusers and transformers behind our interfaces: the oracle of parity tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.conditioning.text import TextEncoder
from cascade_core.conditioning.tokenizer import Tokens
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.sampling.step_tables import CosineSchedule
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


class StockTokenizer:
    """Transformers' CLIPTokenizer, called as ours is."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = int(tokenizer.model_max_length)

    def encode(self, text: str, max_tokens: int) -> Tokens:
        """Return exactly ``max_tokens`` tokens."""
        found = self._tokenizer(text, padding="max_length", max_length=max_tokens, truncation=True)
        return Tokens(found.input_ids, found.attention_mask)

    def count(self, text: str) -> int:
        """Return how many tokens the whole text has."""
        return len(self._tokenizer(text, verbose=False).input_ids)


class StockTextModel(_Stock):
    """Transformers' CLIPTextModelWithProjection, called as ours is."""

    def __call__(
        self, tokens_bt: torch.Tensor, mask_bt: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last layer's output and the pooled one."""
        found = self.module(tokens_bt, attention_mask=mask_bt, output_hidden_states=True)
        return found.hidden_states[-1], found.text_embeds


def stock_text_encoder(model: TinyModel) -> TextEncoder:
    """Return our text encoder around transformers' tokenizer and model."""
    tokenizer, text_model = StockTokenizer(model.tokenizer), StockTextModel(model.text_encoder)
    return TextEncoder(tokenizer, text_model)  # type: ignore[arg-type]


def stock_modules_pipeline(checkpoint: Checkpoint, model: TinyModel) -> CascadePipeline:
    """Return our stages and our loops around diffusers' modules."""
    schedule, stage_a = CosineSchedule(), StockDecoder(model.vqgan)
    text = stock_text_encoder(model)
    stages: dict[str, Any] = {
        "c": StageC(checkpoint, StockUnet(model.prior), text, schedule, None),  # type: ignore[arg-type]
        "b": StageB(checkpoint, StockUnet(model.decoder), schedule, None),  # type: ignore[arg-type]
        "a": StageA(checkpoint, stage_a),  # type: ignore[arg-type]
    }
    return CascadePipeline(STABLE_CASCADE, stages)
