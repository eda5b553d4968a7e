"""Measures image to image from uploads: how near a picture stays, and whether it can be edited."""

from typing import Any, Final

import numpy as np
import torch

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.conditioning.image_to_latent import ImageToLatent
from cascade_core.pipeline import CascadePipeline
from recipe.evaluation.drawing import Picture
from recipe.evaluation.open_prompts import OpenPrompt
from recipe.evaluation.steering.comparison import figures, psnr_db
from recipe.evaluation.steering.originals import Original, Upload, request_of
from recipe.scenes.captions import exact_caption
from recipe.scenes.scene import COLOUR_NAMES

STRENGTHS: Final = (0.5, 0.7, 0.8, 0.9, 1.0)
EDIT_STRENGTH: Final = 0.8


def measure_uploads(pipeline: CascadePipeline, uploads: list[Upload]) -> dict[str, Any]:
    """Return the figures of image to image, by strength and for another colour."""
    before = [upload.pixels_hwc for upload in uploads]
    unchanged = start_from(pipeline, uploads, [exact_caption(u.scene) for u in uploads], 0)
    row = figures(before, unchanged, [upload.named for upload in uploads])
    rows = {"image to image 0, whole caption": row | {"psnr_db": psnr_db(before, unchanged)}}
    shapes = [OpenPrompt(upload.named["shape"], "", "") for upload in uploads]
    for at in STRENGTHS:
        made = start_from(pipeline, uploads, [prompt.text for prompt in shapes], at)
        rows[f"image to image {at}"] = figures(before, made, [prompt.named for prompt in shapes])
    edits = [_recoloured(upload, number) for number, upload in enumerate(uploads)]
    made = start_from(pipeline, uploads, [prompt.text for prompt in edits], EDIT_STRENGTH)
    name = f"image to image {EDIT_STRENGTH}: another colour"
    rows[name] = figures(before, made, [{prompt.also: prompt.value} for prompt in edits])
    return rows


def start_from(
    pipeline: CascadePipeline, uploads: list[Upload], prompts: list[str], strength: float
) -> list[Picture]:
    """Start a picture of each prompt from its upload."""
    return [
        pipeline.run(
            request_of(
                prompt, upload.seed, kind="image_to_image", image="upload", strength=strength
            ),
            upload.stored,
        ).pixels_hwc
        for upload, prompt in zip(uploads, prompts, strict=True)
    ]


def _recoloured(upload: Upload, number: int) -> OpenPrompt:
    named = upload.named
    others = [name for name in COLOUR_NAMES if name not in named.values()]
    return OpenPrompt(named["shape"], "colour", others[number % len(others)])


def latent_cosine(originals: list[Original]) -> float:
    """Mean cosine of the latents of drawn pictures and of the pictures encoded again."""
    checkpoint = open_checkpoint(ModelSource())
    encoder = ImageToLatent.load(checkpoint, torch.device("cpu"))
    cosines = []
    for original in originals:
        before = original.latent.latents_chw.array
        again = encoder.encode(original.pixels_hwc, before.shape[1:]).numpy()
        cosines.append((before * again).sum() / np.sqrt((before**2).sum() * (again**2).sum()))
    return round(float(np.mean(cosines)), 4)
