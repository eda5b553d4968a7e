"""Requests for tiny models, and how diffusers itself makes their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from cascade_core.images.pixels import Rgb
from cascade_core.request import GenerationRequest
from cascade_core.stages.modular.recipes import DENOISING, Recipe

TWO_STAGES = ("sdxl", "sd3", "z_image", "flux2_klein", "qwen_image")
GUIDED = tuple(family for family in TWO_STAGES if family != "flux2_klein")


def request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "prompt": "a red circle",
        "width": 256,
        "height": 256,
        "seed": 3,
        "decoder_seed": 3,
        "steps": 3,
        "guidance_scale": 3.0,
    }
    return GenerationRequest(**values | changes)


def varied(**changes: Any) -> GenerationRequest:
    return request(kind="vary", latent_id="01J", **{"strength": 0.5} | changes)


def whole_pipeline(
    folder: Path, recipe: Recipe, guidance_scale: float, dtype: torch.dtype = torch.float32
) -> Any:
    """Return diffusers' own pipeline of a folder."""
    blocks = getattr(diffusers, recipe.blocks)().get_execution_blocks(**recipe.triggers)
    pipeline = blocks.init_pipeline(str(folder))
    pipeline.load_components(dtype=dtype)
    for part in pipeline.components.values():
        if isinstance(part, diffusers.ModelMixin):  # loaded in the number type of its files
            for weights in part.state_dict(keep_vars=True).values():
                weights.data = weights.data.to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    if "guider" in pipeline.component_names:
        guider = pipeline.guider.new(guidance_scale=guidance_scale, enabled=True)
        pipeline.update_components(guider=guider)
    return pipeline


def whole_inputs(wanted: GenerationRequest) -> dict[str, Any]:
    """Return what diffusers' pipeline takes for a request."""
    inputs: dict[str, Any] = {
        "prompt": wanted.prompt,
        "width": wanted.width,
        "height": wanted.height,
        "num_inference_steps": wanted.steps,
        "generator": torch.Generator("cpu").manual_seed(wanted.seed),
    }
    return inputs | ({"negative_prompt": wanted.negative_prompt} if wanted.negative_prompt else {})


def whole_picture(
    folder: Path, family: str, wanted: GenerationRequest, dtype: torch.dtype = torch.float32
) -> Rgb:
    """Return the picture that diffusers' own pipeline makes, (H, W, 3) uint8."""
    pipeline = whole_pipeline(folder, DENOISING[family], wanted.guidance_scale, dtype)
    images = pipeline(**whole_inputs(wanted), output_type="pil", output="images")
    return np.asarray(images[0])
