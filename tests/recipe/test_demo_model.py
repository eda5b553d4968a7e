"""What the embedded demo model draws: the one place where prompt adherence can be measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.checkpoints.weights import Placement
from cascade_core.conditioning.latent_encoder import LatentEncoder
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline, PictureResult
from cascade_core.request import GenerationRequest
from cascade_core.stages.previews import load_previewer, load_stage_b_previewer
from cascade_core.stages.stage_b import StageBTask
from recipe.device import to_pixels
from recipe.evaluation.evaluate import held_out_scenes
from recipe.evaluation.metric import nearest_colour, score
from recipe.evaluation.vary import grain_correlation, mask_overlap
from recipe.scenes.captions import exact_caption
from recipe.scenes.render import render
from recipe.scenes.scene import Scene

SCENES = held_out_scenes("semantic test", 6)


@pytest.fixture(scope="module")
def pipeline() -> CascadePipeline:
    return CascadePipeline.load(open_checkpoint(ModelSource()), Placement("cpu"), STABLE_CASCADE)


@pytest.fixture(scope="module")
def requests() -> list[GenerationRequest]:
    defaults = open_checkpoint(ModelSource()).defaults
    return [
        GenerationRequest(
            prompt=exact_caption(scene),
            width=defaults.width,
            height=defaults.height,
            seed=number,
            decoder_seed=number,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            decoder_steps=defaults.decoder_steps,
        )
        for number, scene in enumerate(SCENES)
    ]


@pytest.fixture(scope="module")
def originals(pipeline: CascadePipeline, requests: list[GenerationRequest]) -> list[PictureResult]:
    return [pipeline.run(request) for request in requests]


def right(pixels_hwc: np.ndarray, scene: Scene) -> list[bool]:
    """Background, then place and colour of each thing."""
    found = score(pixels_hwc, scene)
    return [found.background, *(ok for thing in found.things for ok in (thing.place, thing.colour))]


def test_prompts_never_trained_on_give_their_background_places_and_colours(
    originals: list[PictureResult],
) -> None:
    for scene, original in zip(SCENES, originals, strict=True):
        assert all(right(original.pixels_hwc, scene)), exact_caption(scene)


def test_vary_details_keeps_places_and_colours_and_changes_the_grain(
    pipeline: CascadePipeline, requests: list[GenerationRequest], originals: list[PictureResult]
) -> None:
    grain = []
    for scene, request, original in zip(SCENES, requests, originals, strict=True):
        vary = replace(request, kind="vary_details", latent_id="x", decoder_seed=99)
        varied = pipeline.run(vary, original.latent)
        assert right(varied.pixels_hwc, scene) == right(original.pixels_hwc, scene)
        assert mask_overlap(original.pixels_hwc, varied.pixels_hwc) > 0.75
        grain.append(grain_correlation(original.pixels_hwc, varied.pixels_hwc))
    # A pattern keeps its phase by chance now and then, so only the mean says something.
    assert np.mean(grain) < 0.5


def test_the_latent_of_an_encoded_picture_shows_its_colours_in_the_preview() -> None:
    """The encoder that ships with the model makes latents that the model's preview map reads."""
    encoder = LatentEncoder.from_pretrained(
        DEMO_MODEL_DIR / "latent_encoder", torch_dtype=torch.float32
    )
    previewer = load_previewer(open_checkpoint(ModelSource()).previewer, 16, torch.device("cpu"))
    assert previewer is not None
    for scene in SCENES:
        rgb_chw = previewer(encoder.encode(to_pixels(render(scene)[None])))
        median = np.median(rgb_chw.reshape(3, -1).numpy(), 1)
        assert nearest_colour(median) == scene.background


@pytest.mark.parametrize("is_in_folder", [True, False], ids=["of preview.json", "fitted"])
def test_the_maps_for_previews_of_stage_b_show_the_colours_of_the_picture(
    pipeline: CascadePipeline,
    requests: list[GenerationRequest],
    originals: list[PictureResult],
    is_in_folder: bool,
) -> None:
    checkpoint = open_checkpoint(ModelSource())
    if not is_in_folder:
        checkpoint = replace(checkpoint, previewer=None)
    previewer = load_stage_b_previewer(checkpoint, 4, torch.device("cpu"), torch.float32)
    stage_b = pipeline.stages["b"]
    for request, original in zip(requests[:3], originals, strict=False):
        row = stage_b.admit(StageBTask(original.latent, request))
        for _ in range(row.steps):
            stage_b.advance([row])
        drawn = previewer(row.latents_bchw)
        picture = to_pixels(original.pixels_hwc[None])
        expected = torch.nn.functional.adaptive_avg_pool2d(picture, drawn.shape[1:])[0]
        assert float((drawn.clamp(0, 1) - expected).abs().mean()) < 0.06
