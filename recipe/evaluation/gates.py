"""Measures whether the spread of a composition tells that its picture will be wrong.

python -m recipe.evaluation.gates
"""

import json
from collections.abc import Iterator
from statistics import mean
from typing import Any, Final

import numpy as np
import torch

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.previews import load_previewer, preview_of
from cascade_core.stages.tensors import from_handoff
from recipe.evaluation.open_prompts import OpenPrompt, open_prompts
from recipe.evaluation.reading import read_picture
from recipe.evaluation.share import share

LOW, HIGH = 0.7, 1.4
"""Times the mean spread of usual compositions; a rule would reject those outside."""
BLANK: Final = 0.02
"""Standard deviation of a preview (0 to 1) below which a rule would call it blank."""
PROMPTS: Final = 24
SEEDS: Final = (1, 2)
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "usual": {},
    "1 step": {"steps": 1},
    "3 steps": {"steps": 3},
    "guidance 0": {"guidance_scale": 0.0},
    "guidance 10": {"guidance_scale": 10.0},
    "guidance 20": {"guidance_scale": 20.0},
}
CPU: Final = torch.device("cpu")

Measured = tuple[float, float, bool]
"""Standard deviations of a latent and of its preview; whether the picture is right."""


def main() -> None:
    """Print the figures of each kind of request as JSON."""
    checkpoint = open_checkpoint(ModelSource())
    placement = Placement(device="cpu", dtype="float32")
    pipeline = CascadePipeline.load(checkpoint, placement, STABLE_CASCADE)
    previewer = load_previewer(checkpoint.previewer, 16, CPU)
    found = {name: list(measured(pipeline, previewer, values)) for name, values in REQUESTS.items()}
    usual = mean(spread for spread, _, _ in found["usual"])
    for name, rows in found.items():
        print(json.dumps({"requests": name, **figures(rows, usual)}), flush=True)


def measured(
    pipeline: CascadePipeline, previewer: Any, values: dict[str, Any]
) -> Iterator[Measured]:
    """Draw open prompts with every seed."""
    for prompt in open_prompts(PROMPTS):
        for seed in SEEDS:
            size = {"width": 256, "height": 256, "seed": seed, "decoder_seed": seed}
            made = pipeline.run(GenerationRequest(prompt=prompt.text, **(size | values)))
            latents = from_handoff(made.latent.latents_chw, CPU, torch.float32)
            preview = preview_of(made.latent, previewer, CPU)
            spreads = float(latents.std()), float(preview.std()) / 255
            yield *spreads, is_right(prompt, made.pixels_hwc)


def is_right(prompt: OpenPrompt, picture: Any) -> bool:
    """Return True if a picture shows what its prompt names."""
    shown = read_picture(np.asarray(picture)).shown
    return all(shown.get(name) == value for name, value in prompt.named.items())


def figures(rows: list[Measured], usual: float) -> dict[str, Any]:
    """Return the spreads, and how many right and wrong pictures a rule would reject."""
    spreads = [spread / usual for spread, _, _ in rows]
    rejected = [
        not LOW <= spread <= HIGH or preview < BLANK
        for spread, (_, preview, _) in zip(spreads, rows, strict=True)
    ]
    right = [is_good for *_, is_good in rows]
    pairs = list(zip(rejected, right, strict=True))
    return {
        "pictures": len(rows),
        "right": share(right),
        "spread": [round(min(spreads), 3), round(mean(spreads), 3), round(max(spreads), 3)],
        "preview_min": round(min(preview for _, preview, _ in rows), 3),
        "rejected_of_wrong": share(is_out for is_out, is_good in pairs if not is_good),
        "rejected_of_right": share(is_out for is_out, is_good in pairs if is_good),
    }


if __name__ == "__main__":
    main()
