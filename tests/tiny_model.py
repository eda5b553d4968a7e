"""A Stable Cascade with random weights and every kind of block, small enough for a CPU test.

All widths differ from each other, so that a test notices an embedding that went to the wrong place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDPMWuerstchenScheduler,
    StableCascadeCombinedPipeline,
    StableCascadeDecoderPipeline,
    StableCascadePriorPipeline,
)
from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

MAX_TOKENS = 77
TEXT_CHANNELS, POOLED_CHANNELS, IMAGE_CHANNELS = 48, 40, 24
_CONV = ["SDCascadeResBlock", "SDCascadeTimestepBlock"]
_CONV_ATTENTION = [*_CONV, "SDCascadeAttnBlock"]
# Published weights are not zero here; freshly made ones are, which would hide whole branches.
_ZERO_INITIALISED = ("gamma", "beta", "gammas")


@dataclass(frozen=True)
class TinyModel:
    """The modules of one model, as diffusers and transformers know them."""

    tokenizer: Any
    text_encoder: Any
    prior: Any
    decoder: Any
    vqgan: Any

    def to(self, dtype: torch.dtype) -> TinyModel:
        """Cast all weights, in place."""
        for module in (self.text_encoder, self.prior, self.decoder, self.vqgan):
            module.to(dtype)
        return self


def build_tiny_model(seed: int = 0, lite: bool = False) -> TinyModel:
    """Make the modules; ``lite`` has narrower U-Nets."""
    torch.manual_seed(seed)
    tokenizer = _build_tokenizer()
    model = TinyModel(
        tokenizer,
        _build_text_encoder(tokenizer),
        StableCascadeUNet(**_prior_config(32 if lite else 64)),
        StableCascadeUNet(**_decoder_config(32 if lite else 48)),
        PaellaVQModel(bottleneck_blocks=1, embed_dim=32, num_vq_embeddings=8, scale_factor=0.01),
    )
    # Mid-grey, so that few pixels are cut off at black.
    model.vqgan.out_block[0].bias.data.add_(0.5)
    for module in (model.text_encoder, model.prior, model.decoder, model.vqgan):
        module.eval().requires_grad_(False)
        for name, parameter in module.named_parameters():
            if name.endswith(_ZERO_INITIALISED):
                parameter.data.normal_(0, 0.3)
    return model


def write_combined(model: TinyModel, folder: Path, variant: str | None = None) -> Path:
    """Save all components once in one folder, as the combined pipeline names them."""
    parts = {"prior_prior": model.prior, "text_encoder": model.text_encoder}
    parts |= {"tokenizer": model.tokenizer, "decoder": model.decoder, "vqgan": model.vqgan}
    _save(folder, parts | {"scheduler": DDPMWuerstchenScheduler()}, variant)
    _write_index(folder, "StableCascadeCombinedPipeline", vqgan=["wuerstchen", "PaellaVQModel"])
    return folder


def write_two(model: TinyModel, folder: Path, variant: str | None = None) -> tuple[Path, Path]:
    """Save the published layout: the decoder's repository and the prior's."""
    decoder, prior = folder / "cascade", folder / "cascade-prior"
    text = {"text_encoder": model.text_encoder, "tokenizer": model.tokenizer}
    scheduler = {"scheduler": DDPMWuerstchenScheduler()}
    _save(decoder, {"decoder": model.decoder, "vqgan": model.vqgan} | text | scheduler, variant)
    _save(prior, {"prior": model.prior} | text | scheduler, variant)
    vqgan = ["wuerstchen", "PaellaVQModel"]
    _write_index(decoder, "StableCascadeDecoderPipeline", latent_dim_scale=10.67, vqgan=vqgan)
    _write_index(prior, "StableCascadePriorPipeline", resolution_multiple=42.67)
    return decoder, prior


def stock_prior(model: TinyModel) -> Any:
    """Return diffusers' pipeline for Stage C."""
    return _quiet(
        StableCascadePriorPipeline(
            tokenizer=model.tokenizer,
            text_encoder=model.text_encoder,
            prior=model.prior,
            scheduler=DDPMWuerstchenScheduler(),
        )
    )


def stock_decoder(model: TinyModel) -> Any:
    """Return diffusers' pipeline for Stages B and A."""
    return _quiet(
        StableCascadeDecoderPipeline(
            decoder=model.decoder,
            tokenizer=model.tokenizer,
            text_encoder=model.text_encoder,
            scheduler=DDPMWuerstchenScheduler(),
            vqgan=model.vqgan,
        )
    )


def stock_combined(model: TinyModel) -> Any:
    """Return diffusers' pipeline for all three stages."""
    pipeline = StableCascadeCombinedPipeline(
        tokenizer=model.tokenizer,
        text_encoder=model.text_encoder,
        decoder=model.decoder,
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=model.vqgan,
        prior_prior=model.prior,
        prior_text_encoder=model.text_encoder,
        prior_tokenizer=model.tokenizer,
        prior_scheduler=DDPMWuerstchenScheduler(),
    )
    return _quiet(pipeline)


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _build_tokenizer() -> Any:
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "re", "red</w>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    merges = [("r", "e"), ("re", "d</w>")]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def _build_text_encoder(tokenizer: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_CHANNELS,
        intermediate_size=2 * TEXT_CHANNELS,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=MAX_TOKENS,
        hidden_act="gelu",
        projection_dim=POOLED_CHANNELS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(config)


def _prior_config(width: int) -> dict[str, Any]:
    return {
        "in_channels": 16,
        "out_channels": 16,
        "timestep_ratio_embedding_dim": 16,
        "patch_size": 1,
        "conditioning_dim": width,
        "block_out_channels": [width, width],
        "num_attention_heads": [2, 2],
        "down_num_layers_per_block": [1, 2],
        "up_num_layers_per_block": [2, 1],
        "down_blocks_repeat_mappers": [1, 1],
        "up_blocks_repeat_mappers": [1, 1],
        "block_types_per_layer": [_CONV_ATTENTION, _CONV_ATTENTION],
        "clip_text_in_channels": TEXT_CHANNELS,
        "clip_text_pooled_in_channels": POOLED_CHANNELS,
        "clip_image_in_channels": IMAGE_CHANNELS,
        "clip_seq": 4,
        "kernel_size": 3,
        "dropout": [0.1, 0.1],
        "self_attn": True,
        "timestep_conditioning_type": ["sca", "crp"],
        "switch_level": [False],
    }


def _decoder_config(width: int) -> dict[str, Any]:
    return {
        "in_channels": 4,
        "out_channels": 4,
        "timestep_ratio_embedding_dim": 16,
        "patch_size": 2,
        "conditioning_dim": width,
        "block_out_channels": [16, 32, width, width],
        "num_attention_heads": [0, 0, 2, 2],
        "down_num_layers_per_block": [1, 1, 2, 1],
        "up_num_layers_per_block": [1, 2, 1, 1],
        "down_blocks_repeat_mappers": [1, 1, 1, 1],
        "up_blocks_repeat_mappers": [3, 3, 2, 2],
        "block_types_per_layer": [_CONV, _CONV, _CONV_ATTENTION, _CONV_ATTENTION],
        "clip_text_in_channels": None,
        "clip_text_pooled_in_channels": POOLED_CHANNELS,
        "clip_image_in_channels": None,
        "clip_seq": 4,
        "effnet_in_channels": 16,
        "pixel_mapper_in_channels": 3,
        "kernel_size": 3,
        "dropout": [0, 0, 0.1, 0.1],
        "self_attn": True,
        "timestep_conditioning_type": ["sca"],
    }


def _save(folder: Path, parts: dict[str, Any], variant: str | None) -> None:
    for name, part in parts.items():
        has_weights = isinstance(part, torch.nn.Module)
        part.save_pretrained(folder / name, **({"variant": variant} if has_weights else {}))


def _write_index(folder: Path, pipeline: str, **entries: Any) -> None:
    body = {"_class_name": pipeline, "_diffusers_version": "0.42.1"} | entries
    (folder / "model_index.json").write_text(json.dumps(body))
