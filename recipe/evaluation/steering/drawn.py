"""Measures operations on the latents of drawn pictures: vary, remix, decode, and two passes."""

from dataclasses import replace
from typing import Any, Final

from cascade_core.images.stored_upload import StoredUpload
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from recipe.evaluation.open_prompts import OpenPrompt
from recipe.evaluation.steering.comparison import figures
from recipe.evaluation.steering.originals import NEW_SEED, Original, request_of
from recipe.scenes.scene import COLOUR_NAMES

STRENGTHS: Final = (0.5, 0.7, 0.8, 0.9, 1.0)
REMIX_STRENGTH: Final = 0.7
LARGER: Final = 1.5
SECOND_PASS_STRENGTHS: Final = (0.5, 0.7)


def measure_drawn(pipeline: CascadePipeline, originals: list[Original]) -> dict[str, Any]:
    """Return the figures of every operation."""
    pixels = [original.pixels_hwc for original in originals]
    named = [original.prompt.named for original in originals]
    rows = {"the originals": figures(pixels, pixels, named)}
    rows |= {f"vary {at}": vary(pipeline, originals, at) for at in STRENGTHS}
    rows["remix: another colour"] = remix(pipeline, originals)
    rows["decode at 1.5x"] = decode_larger(pipeline, originals)
    for at in SECOND_PASS_STRENGTHS:
        rows[f"two passes to 1.5x, the second at {at}"] = two_passes(pipeline, originals, at)
    return rows


def vary(pipeline: CascadePipeline, originals: list[Original], strength: float) -> dict[str, Any]:
    """Vary every original at one strength with a new seed."""
    requests = [
        _from(original, kind="vary", strength=strength, seed=original.request.seed + NEW_SEED)
        for original in originals
    ]
    asked = [original.prompt.named for original in originals]
    return _draw(pipeline, originals, requests, asked)


def remix(pipeline: CascadePipeline, originals: list[Original]) -> dict[str, Any]:
    """Ask for another colour of every thing, and name nothing else but its shape."""
    requests, asked = [], []
    for number, original in enumerate(originals):
        others = [name for name in COLOUR_NAMES if name not in original.reading.shown.values()]
        prompt = OpenPrompt(original.prompt.shape, "colour", others[number % len(others)])
        request = _from(
            original,
            kind="vary",
            strength=REMIX_STRENGTH,
            prompt=prompt.text,
            seed=original.request.seed + NEW_SEED,
        )
        requests.append(request)
        asked.append(prompt.named)
    return _draw(pipeline, originals, requests, asked)


def decode_larger(pipeline: CascadePipeline, originals: list[Original]) -> dict[str, Any]:
    """Draw every original at 1.5 times its sides."""
    requests = [
        _from(original, kind="decode", width=width, height=height)
        for original in originals
        for width, height in [_larger(original)]
    ]
    asked = [original.prompt.named for original in originals]
    return _draw(pipeline, originals, requests, asked)


def two_passes(
    pipeline: CascadePipeline, originals: list[Original], strength: float
) -> dict[str, Any]:
    """Compose every original again at 1.5 times its sides, from its picture, and draw that."""
    made = []
    for original in originals:
        width, height = _larger(original)
        request = request_of(
            original.prompt.text,
            original.request.seed,
            kind="image_to_image",
            image="original",
            strength=strength,
            width=width,
            height=height,
        )
        made.append(pipeline.run(request, StoredUpload.of(original.pixels_hwc)).pixels_hwc)
    before = [original.pixels_hwc for original in originals]
    return figures(before, made, [original.prompt.named for original in originals])


def _draw(
    pipeline: CascadePipeline,
    originals: list[Original],
    requests: list[GenerationRequest],
    asked: list[dict[str, str]],
) -> dict[str, Any]:
    made = [
        pipeline.run(request, original.latent).pixels_hwc
        for original, request in zip(originals, requests, strict=True)
    ]
    return figures([original.pixels_hwc for original in originals], made, asked)


def _larger(original: Original) -> tuple[int, int]:
    return round(original.request.width * LARGER), round(original.request.height * LARGER)


def _from(original: Original, **changes: Any) -> GenerationRequest:
    return replace(original.request, latent_id="original", **changes)
