"""Divided into stages, a modular pipeline makes the very pictures that it makes as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.registry import FAMILIES
from cascade_core.pipeline import CascadePipeline
from cascade_core.stages.modular.recipes import DENOISING, REFINING, Recipe
from cascade_core.stages.modular.refine import REFINED_PART
from cascade_core.stages.tensors import from_handoff
from tests.cascade_core.modular.requests import (
    GUIDED,
    TWO_STAGES,
    request,
    varied,
    whole_inputs,
    whole_picture,
    whole_pipeline,
)

Pipelines = Callable[[str], CascadePipeline]
Folders = Callable[[str], Path]
CPU = torch.device("cpu")


@pytest.mark.parametrize("family", TWO_STAGES)
def test_a_picture_is_that_of_the_whole_pipeline(
    pipeline_of: Pipelines, folder_of: Folders, family: str
) -> None:
    wanted = request(height=384)
    made = pipeline_of(family).run(wanted).pixels_hwc

    assert made.shape == (384, 256, 3)
    assert np.array_equal(made, whole_picture(folder_of(family), family, wanted))


@pytest.mark.parametrize("family", TWO_STAGES)
def test_a_picture_in_the_number_type_of_gpus_is_that_of_the_whole_pipeline(
    checkpoint_of: Callable[[str], Checkpoint], folder_of: Folders, family: str
) -> None:
    place = Placement("cpu", "bfloat16")
    pipeline = CascadePipeline.load(checkpoint_of(family), place, FAMILIES[family])
    wanted = request(steps=2)
    expected = whole_picture(folder_of(family), family, wanted, torch.bfloat16)

    assert np.array_equal(pipeline.run(wanted).pixels_hwc, expected)


@pytest.mark.parametrize("family", GUIDED)
@pytest.mark.parametrize(
    "changes", [{"guidance_scale": 0.0}, {"negative_prompt": "a blue square"}], ids=["off", "away"]
)
def test_guidance_is_that_of_the_whole_pipeline(
    pipeline_of: Pipelines, folder_of: Folders, family: str, changes: dict[str, object]
) -> None:
    wanted = request(steps=2, **changes)
    expected = whole_picture(folder_of(family), family, request(steps=2, **_stated(changes)))

    assert np.array_equal(pipeline_of(family).run(wanted).pixels_hwc, expected)


def _stated(changes: dict[str, object]) -> dict[str, object]:
    # A scale of 1 predicts once; at 0 a guider of diffusers would leave the prompt out.
    return {"guidance_scale": 1.0} if "guidance_scale" in changes else changes


def test_a_refined_picture_is_that_of_base_and_refiner_one_after_the_other(
    pipeline_of: Pipelines, folder_of: Folders
) -> None:
    wanted = request(decoder_seed=5, decoder_steps=3, decoder_guidance_scale=2.0)
    folder = folder_of("sdxl_refiner")
    base = whole_pipeline(folder / "base", DENOISING["sdxl"], wanted.guidance_scale)
    latents = base(**whole_inputs(wanted), output="latents")
    refiner = whole_pipeline(folder, REFINING["sdxl_refiner"], wanted.decoder_guidance_scale)
    images = refiner(
        prompt=wanted.prompt,
        image_latents=latents,
        strength=REFINED_PART,
        num_inference_steps=10,
        generator=torch.Generator("cpu").manual_seed(5),
        output="images",
    )
    steps: list[tuple[str, int, int]] = []
    made = pipeline_of("sdxl_refiner").run(wanted, on_step=lambda *step: steps.append(step))

    assert np.array_equal(made.pixels_hwc, np.asarray(images[0]))
    assert [step for step in steps if step[0] == "r"] == [("r", 1, 3), ("r", 2, 3), ("r", 3, 3)]


def test_a_variation_is_that_of_the_blocks_which_start_from_a_picture(
    pipeline_of: Pipelines, folder_of: Folders
) -> None:
    ours = pipeline_of("z_image")
    kept = ours.run(request()).latent
    wanted = varied(seed=9, steps=4)
    blocks = Recipe(blocks="ZImageAutoBlocks", triggers={"prompt": True, "image_latents": True})
    theirs = whole_pipeline(folder_of("z_image"), blocks, wanted.guidance_scale)
    images = theirs(
        **whole_inputs(wanted),
        image_latents=from_handoff(kept.tensor("latents"), CPU, torch.float32),
        strength=0.5,
        output="images",
    )

    assert np.array_equal(ours.run(wanted, kept).pixels_hwc, np.asarray(images[0]))
