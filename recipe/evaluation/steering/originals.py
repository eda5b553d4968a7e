"""The pictures that operations start from: drawn ones with their latents, and uploads."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.images.stored_upload import StoredUpload
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from recipe.evaluation.drawing import Picture
from recipe.evaluation.open_prompts import OpenPrompt
from recipe.evaluation.reading import Reading, read_picture
from recipe.scenes.render import render
from recipe.scenes.scene import Scene, sample_scene

SEEDS: Final = (1, 2)
NEW_SEED: Final = 500
"""Added to an original's seed for what is made from it."""


@dataclass(frozen=True, slots=True)
class Original:
    """A drawn picture: prompt, request, stored latent, pixels (h, w, 3) and what they show."""

    prompt: OpenPrompt
    request: GenerationRequest
    latent: Any
    pixels_hwc: Picture
    reading: Reading


@dataclass(frozen=True, slots=True)
class Upload:
    """A rendered scene of one plain thing, as the service stores it; `seed` is of its images."""

    scene: Scene
    stored: StoredUpload
    pixels_hwc: Picture
    reading: Reading
    seed: int

    @property
    def named(self) -> dict[str, str]:
        """What the scene holds: attribute -> value."""
        (thing,) = self.scene.things
        return {
            "background": self.scene.background,
            "colour": thing.colour,
            "place": thing.place,
            "shape": thing.shape,
        }


def load_pipeline() -> CascadePipeline:
    """Load the shipped model as the service does."""
    return CascadePipeline.load(open_checkpoint(ModelSource()), Placement("cpu"), STABLE_CASCADE)


def request_of(prompt: str, seed: int, **changes: Any) -> GenerationRequest:
    """Return the request of a picture with the model's defaults."""
    defaults = open_checkpoint(ModelSource()).defaults
    values = {
        "width": defaults.width,
        "height": defaults.height,
        "seed": seed,
        "decoder_seed": seed,
        "steps": defaults.steps,
        "guidance_scale": defaults.guidance_scale,
        "decoder_steps": defaults.decoder_steps,
    }
    return GenerationRequest(prompt=prompt, **(values | changes))


def draw_original(pipeline: CascadePipeline, prompt: OpenPrompt, seed: int) -> Original:
    """Draw a prompt with the model's defaults."""
    request = request_of(prompt.text, seed)
    made = pipeline.run(request)
    return Original(prompt, request, made.latent, made.pixels_hwc, read_picture(made.pixels_hwc))


def uploads(count: int) -> list[Upload]:
    """Return the first `count` uploads, each with every seed; they are always the same."""
    scenes = list(islice(_plain_scenes(), count))
    return [
        _upload(scene, 1000 * seed + number)
        for seed in SEEDS
        for number, scene in enumerate(scenes)
    ]


def _plain_scenes() -> Iterator[Scene]:
    """Yield scenes of one thing without a pattern: open captions name none."""
    rng = random.Random("uploads")
    while True:
        scene = sample_scene(rng, held_out=True, things=1)
        if scene.things[0].texture == "plain":
            yield scene


def _upload(scene: Scene, seed: int) -> Upload:
    pixels_hwc = render(scene)
    return Upload(scene, StoredUpload.of(pixels_hwc), pixels_hwc, read_picture(pixels_hwc), seed)
