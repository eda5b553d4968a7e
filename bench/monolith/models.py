"""The models that are served: the demo model, and one that is bound by dispatching operations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
from PIL import Image

from bench.monolith.table import DEMO, DISPATCH
from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from recipe.evaluation.drawing import load_pipeline
from tests.tiny_model import TinyModel, build_tiny_model, stock_combined

USUAL_STEPS, DECODER_STEPS, SIDE_PX, GUIDANCE = 20, 10, 256, 4.0


def model_folders(scratch: Path) -> dict[str, Path]:
    """Return the folder of each model; one is written below ``scratch``."""
    folder = scratch / "model"
    stock_combined(_dispatch_bound()).save_pretrained(folder)
    # diffusers writes that Stage A's class is its own, and then does not find it there.
    shutil.copy(DEMO_MODEL_DIR / "model_index.json", folder)
    return {DEMO: DEMO_MODEL_DIR, DISPATCH: folder}


def _dispatch_bound() -> TinyModel:
    """Return the same random weights every time, in as many blocks as the published U-Nets have.

    They have so few channels that a step takes as long as dispatching its operations, as it does
    for small pictures on a large GPU: rows that share a step are cheap then. Stage B sees patches
    of 8 in place of 2 pixels of its latents; at 2 it is bound by computing.
    """
    model = build_tiny_model(lite=True)
    prior = dict(model.prior.config) | _layers([8, 24])
    decoder = dict(model.decoder.config) | _layers([2, 6, 28, 6]) | {"patch_size": 8}
    return replace(
        model,
        prior=StableCascadeUNet.from_config(prior).eval().requires_grad_(False),
        decoder=StableCascadeUNet.from_config(decoder).eval().requires_grad_(False),
    )


def _layers(down: list[int]) -> dict[str, list[int]]:
    return {"down_num_layers_per_block": down, "up_num_layers_per_block": down[::-1]}


class DiffusersPipeline:
    """Diffusers' combined pipeline on one torch thread.

    Args:
        folder: of the model.
    """

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self._pipeline = load_pipeline(folder)

    def draw(self, bodies: list[dict[str, Any]]) -> list[Image.Image]:
        """Return the pictures of bodies with ``prompt``, ``seed`` and ``steps``, in their order.

        Those of equal steps are drawn together.
        """
        drawn: dict[int, Image.Image] = {}
        for steps in sorted({body["steps"] for body in bodies}):
            places = [place for place, body in enumerate(bodies) if body["steps"] == steps]
            same = [bodies[place] for place in places]
            drawn |= zip(places, self._draw_together(steps, same), strict=True)
        return [drawn[place] for place in range(len(bodies))]

    def _draw_together(self, steps: int, bodies: list[dict[str, Any]]) -> list[Image.Image]:
        pictures: list[Image.Image] = self._pipeline(
            prompt=[body["prompt"] for body in bodies],
            width=SIDE_PX,
            height=SIDE_PX,
            prior_num_inference_steps=steps,
            prior_guidance_scale=GUIDANCE,
            num_inference_steps=DECODER_STEPS,
            decoder_guidance_scale=1.0,
            generator=[torch.Generator().manual_seed(body["seed"]) for body in bodies],
        ).images
        return pictures
