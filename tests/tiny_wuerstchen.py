"""A Würstchen with random weights, small enough for a CPU test, in the published layouts.

The widths of its parts differ from each other, so that a test notices an embedding that went to
the wrong place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMWuerstchenScheduler
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_diffnext import (
    WuerstchenDiffNeXt,
)
from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_prior import WuerstchenPrior
from diffusers.pipelines.deprecated.wuerstchen.pipeline_wuerstchen import WuerstchenDecoderPipeline
from diffusers.pipelines.deprecated.wuerstchen.pipeline_wuerstchen_prior import (
    WuerstchenPriorPipeline,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR

MAX_TOKENS = 40
PRIOR_TEXT, DECODER_TEXT = 48, 40
# Published weights are not zero here; freshly made ones are, which would hide whole branches.
_SPREAD = 0.2


@dataclass(frozen=True)
class TinyWuerstchen:
    """The modules of one model, as diffusers and transformers know them."""

    tokenizer: Any
    prior_text_encoder: Any
    text_encoder: Any
    prior: Any
    decoder: Any
    vqgan: Any

    def to(self, dtype: torch.dtype) -> TinyWuerstchen:
        """Cast all weights, in place."""
        for module in self.modules():
            module.to(dtype)
        return self

    def modules(self) -> tuple[Any, ...]:
        """Return all networks."""
        return self.prior_text_encoder, self.text_encoder, self.prior, self.decoder, self.vqgan


def build_tiny_wuerstchen(seed: int = 0) -> TinyWuerstchen:
    """Make the modules, with the demo model's tokenizer."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(DEMO_MODEL_DIR / "tokenizer")
    tokenizer.model_max_length = MAX_TOKENS
    model = TinyWuerstchen(
        tokenizer,
        _build_text_encoder(tokenizer, PRIOR_TEXT),
        _build_text_encoder(tokenizer, DECODER_TEXT),
        WuerstchenPrior(c_in=16, c=32, c_cond=PRIOR_TEXT, c_r=16, depth=2, nhead=4),
        WuerstchenDiffNeXt(
            c_r=16,
            c_cond=24,
            c_hidden=[16, 32, 64, 64],
            nhead=[-1, 4, 4, 4],
            blocks=[1, 1, 2, 1],
            level_config=["CT", "CTA", "CTA", "CTA"],
            inject_effnet=[False, True, True, True],
            effnet_embd=16,
            clip_embd=DECODER_TEXT,
        ),
        PaellaVQModel(bottleneck_blocks=1, embed_dim=32, num_vq_embeddings=8, scale_factor=0.01),
    )
    # Mid-grey, so that few pixels are cut off at black.
    model.vqgan.out_block[0].bias.data.add_(0.5)
    # The prior divides by the distance of its last channels from 1. Where random ones come near it,
    # the rounding of a batch would grow without bound.
    model.prior.out[1].weight.data[16:].mul_(0.1)
    for module in model.modules():
        module.eval().requires_grad_(False)
        for parameter in module.parameters():
            if not parameter.any():
                parameter.data.normal_(0, _SPREAD)
    return model


def write_combined(model: TinyWuerstchen, folder: Path) -> Path:
    """Save all components once in one folder, as the combined pipeline names them."""
    parts = {
        "prior_prior": model.prior,
        "prior_text_encoder": model.prior_text_encoder,
        "prior_tokenizer": model.tokenizer,
        "prior_scheduler": DDPMWuerstchenScheduler(),
    }
    _save(folder, parts | _decoder_parts(model))
    _write_index(folder, "WuerstchenCombinedPipeline")
    return folder


def write_two(model: TinyWuerstchen, folder: Path) -> tuple[Path, Path]:
    """Save the published layout: the decoder's repository and the prior's."""
    decoder, prior = folder / "wuerstchen", folder / "wuerstchen-prior"
    _save(decoder, _decoder_parts(model))
    parts = {
        "prior": model.prior,
        "text_encoder": model.prior_text_encoder,
        "tokenizer": model.tokenizer,
        "scheduler": DDPMWuerstchenScheduler(),
    }
    _save(prior, parts)
    _write_index(decoder, "WuerstchenDecoderPipeline", latent_dim_scale=10.67)
    scales = {"latent_mean": 42.0, "latent_std": 1.0, "resolution_multiple": 42.67}
    _write_index(prior, "WuerstchenPriorPipeline", **scales)
    return decoder, prior


def stock_prior(model: TinyWuerstchen, **scales: float) -> Any:
    """Return diffusers' pipeline for Stage C."""
    pipeline = WuerstchenPriorPipeline(
        tokenizer=model.tokenizer,
        text_encoder=model.prior_text_encoder,
        prior=model.prior,
        scheduler=DDPMWuerstchenScheduler(),
        **scales,
    )
    return _quiet(pipeline)


def stock_decoder(model: TinyWuerstchen) -> Any:
    """Return diffusers' pipeline for Stages B and A."""
    pipeline = WuerstchenDecoderPipeline(
        tokenizer=model.tokenizer,
        text_encoder=model.text_encoder,
        decoder=model.decoder,
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=model.vqgan,
    )
    return _quiet(pipeline)


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _build_text_encoder(tokenizer: Any, width: int) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def _decoder_parts(model: TinyWuerstchen) -> dict[str, Any]:
    return {
        "decoder": model.decoder,
        "vqgan": model.vqgan,
        "text_encoder": model.text_encoder,
        "tokenizer": model.tokenizer,
        "scheduler": DDPMWuerstchenScheduler(),
    }


def _save(folder: Path, parts: dict[str, Any]) -> None:
    for name, part in parts.items():
        part.save_pretrained(folder / name)


def _write_index(folder: Path, pipeline: str, **entries: Any) -> None:
    body = {"_class_name": pipeline, "_diffusers_version": "0.42.1"} | entries
    (folder / "model_index.json").write_text(json.dumps(body))
