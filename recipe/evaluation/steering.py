"""Measures what operations on a stored latent keep and change.

`python -m recipe.evaluation.steering` draws 24 open prompts with two seeds each in the service's
own pipeline. A picture and what is made from its latent have the same seed of details, so every
difference comes from Stage C.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from recipe.evaluation.open_prompts import OpenPrompt, open_prompts
from recipe.evaluation.reading import Reading, overlap, read_picture
from recipe.evaluation.share import share, wilson_interval
from recipe.scale import RESULTS_DIR
from recipe.scenes.scene import COLOUR_NAMES

PROMPTS: Final = 24
SEEDS: Final = (1, 2)
STRENGTHS: Final = (0.5, 0.7, 0.8, 0.9, 1.0)
REMIX_STRENGTH: Final = 0.7
LARGER: Final = 1.5
SHOWN: Final = ("background", "colour", "place", "shape")
HEADER: Final = (
    "| operation | pictures | mask IoU | place kept | left open and kept | asked for and right |\n"
    "|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True, slots=True)
class Original:
    """A picture that operations start from: prompt, request, stored latent and what it shows."""

    prompt: OpenPrompt
    request: GenerationRequest
    latent: Any
    reading: Reading


def main() -> None:
    """Draw, measure, and write JSON and a table."""
    pipeline = CascadePipeline.load(
        open_checkpoint(ModelSource()), Placement("cpu"), STABLE_CASCADE
    )
    originals = [
        draw_original(pipeline, prompt, 1000 * seed + number)
        for seed in SEEDS
        for number, prompt in enumerate(open_prompts(PROMPTS))
    ]
    rows = {f"vary {at}": vary(pipeline, originals, at) for at in STRENGTHS}
    rows["remix: another colour"] = remix(pipeline, originals)
    rows["decode at 1.5x"] = decode_larger(pipeline, originals)
    RESULTS_DIR.mkdir(parents=True, exist_ok=True)
    (RESULTS_DIR / "steering.json").write_text(json.dumps(rows, indent=2) + "\n")
    (RESULTS_DIR / "steering.md").write_text(table(rows))
    print(table(rows), flush=True)


def draw_original(pipeline: CascadePipeline, prompt: OpenPrompt, seed: int) -> Original:
    """Draw a prompt with the model's defaults."""
    defaults = open_checkpoint(ModelSource()).defaults
    request = GenerationRequest(
        prompt=prompt.text,
        width=defaults.width,
        height=defaults.height,
        seed=seed,
        decoder_seed=seed,
        steps=defaults.steps,
        guidance_scale=defaults.guidance_scale,
        decoder_steps=defaults.decoder_steps,
    )
    made = pipeline.run(request)
    return Original(prompt, request, made.latent, read_picture(made.pixels_hwc))


def vary(pipeline: CascadePipeline, originals: list[Original], strength: float) -> dict[str, Any]:
    """Vary every original at one strength with a new seed."""
    made = []
    for original in originals:
        request = _from(original, kind="vary", strength=strength, seed=original.request.seed + 500)
        made.append(read_picture(pipeline.run(request, original.latent).pixels_hwc))
    return figures(originals, made, [original.prompt.named for original in originals])


def remix(pipeline: CascadePipeline, originals: list[Original]) -> dict[str, Any]:
    """Ask for another colour of every thing, and name nothing else but its shape."""
    made, asked = [], []
    for number, original in enumerate(originals):
        others = [name for name in COLOUR_NAMES if name not in original.reading.shown.values()]
        prompt = OpenPrompt(original.prompt.shape, "colour", others[number % len(others)])
        request = _from(
            original,
            kind="vary",
            strength=REMIX_STRENGTH,
            prompt=prompt.text,
            seed=original.request.seed + 500,
        )
        made.append(read_picture(pipeline.run(request, original.latent).pixels_hwc))
        asked.append(prompt.named)
    return figures(originals, made, asked)


def decode_larger(pipeline: CascadePipeline, originals: list[Original]) -> dict[str, Any]:
    """Draw every original at 1.5 times its sides."""
    made = []
    for original in originals:
        width, height = (
            round(side * LARGER) for side in (original.request.width, original.request.height)
        )
        request = _from(original, kind="decode", width=width, height=height)
        picture = pipeline.run(request, original.latent).pixels_hwc
        made.append(read_picture(picture))
    return figures(originals, made, [original.prompt.named for original in originals])


def _from(original: Original, **changes: Any) -> GenerationRequest:
    return replace(original.request, latent_id="original", **changes)


def figures(
    originals: list[Original], made: list[Reading], asked: list[dict[str, str]]
) -> dict[str, Any]:
    """Compare pictures with their originals.

    Returns:
        `mask_iou` where the pictures have one size, and shares with their number of flags: `place`
        of the original kept where nothing asks for another; `kept`, every attribute that nothing
        asks for; `right`, every attribute but the texture that something asks for.
    """
    rows = list(zip((original.reading for original in originals), made, asked, strict=True))
    ious = [overlap(a.mask, b.mask) for a, b, _ in rows if a.mask.shape == b.mask.shape]
    return {
        "pictures": len(rows),
        "mask_iou": round(float(np.mean(ious)), 4) if ious else None,
        "place": _of(
            a.shown.get("place") == b.shown.get("place")
            for a, b, wanted in rows
            if "place" not in wanted
        ),
        "kept": _of(
            a.shown.get(name) == b.shown.get(name)
            for a, b, wanted in rows
            for name in SHOWN
            if name not in wanted
        ),
        "right": _of(
            b.shown.get(name) == wanted[name]
            for _, b, wanted in rows
            for name in SHOWN
            if name in wanted
        ),
    }


def _of(flags: Iterable[bool]) -> dict[str, float]:
    values = list(flags)
    return {"share": share(values), "of": len(values)}


def table(rows: dict[str, Any]) -> str:
    """Return the figures as markdown."""
    lines = []
    for name, row in rows.items():
        iou = "" if row["mask_iou"] is None else f"{row['mask_iou']:.2f}"
        cells = " | ".join(_cell(row[key]) for key in ("place", "kept", "right"))
        lines.append(f"| {name} | {row['pictures']} | {iou} | {cells} |")
    return HEADER + "\n".join(lines) + "\n"


def _cell(found: dict[str, float]) -> str:
    low, high = wilson_interval(found["share"], int(found["of"]))
    return f"{found['share']:.1%} ({100 * low:.0f}-{100 * high:.0f})"


if __name__ == "__main__":
    main()
