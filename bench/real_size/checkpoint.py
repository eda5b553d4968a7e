"""Writes a model in the published layout, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import DDPMWuerstchenScheduler

from bench.published import SCALES, letter_tokenizer, random_component
from cascade_core.checkpoints.checkpoint import ModelSource

_INDEXES: Final[dict[str, dict[str, Any]]] = {
    "stable-cascade": {
        "_class_name": "StableCascadeDecoderPipeline",
        "latent_dim_scale": 10.67,
        "vqgan": ["wuerstchen", "PaellaVQModel"],
    },
    "stable-cascade-prior": {
        "_class_name": "StableCascadePriorPipeline",
        "resolution_multiple": 42.67,
    },
}


def write_checkpoint(size: str, folder: Path) -> ModelSource:
    """Write both repositories' folders in bfloat16, one component in memory at a time.

    The decoder's own copies of text encoder and tokenizer are left out: the service reads the
    prior's.

    Args:
        size: of :data:`bench.published.SCALES`.
        folder: where both folders go.
    """
    scale, lite = SCALES[size], "_lite" if size == "lite" else ""
    decoder, prior = (folder / name for name in _INDEXES)
    parts = {
        "prior": prior / f"prior{lite}",
        "text_encoder": prior / "text_encoder",
        "decoder": decoder / f"decoder{lite}",
        "vqgan": decoder / "vqgan",
    }
    for name, path in parts.items():
        component = random_component(scale, name, torch.device("cpu"), torch.bfloat16)
        component.save_pretrained(path, variant="bf16")
    letter_tokenizer(scale).save_pretrained(prior / "tokenizer")
    for name, index in _INDEXES.items():
        DDPMWuerstchenScheduler().save_pretrained(folder / name / "scheduler")
        (folder / name / "model_index.json").write_text(json.dumps(index))
    return ModelSource(
        model=str(decoder),
        prior_model=str(prior),
        variant="bf16",
        prior_size="lite" if lite else "full",
        decoder_size="lite" if lite else "full",
    )
