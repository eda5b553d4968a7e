"""Measures the flow model and the cascade in one run, with the service's own pipelines.

Both draw the same held-out captions and open prompts with the same seeds and the defaults of their
model. Both machines' pauses fall on both: the models take turns, picture by picture.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.registry import FAMILIES
from cascade_core.model_defaults import ModelDefaults
from cascade_core.pipeline import CascadePipeline, PictureResult
from cascade_core.request import GenerationRequest
from recipe.evaluation.drawing import Picture
from recipe.evaluation.evaluate import held_out_scenes, summary
from recipe.evaluation.evaluation_table import ATTRIBUTES
from recipe.evaluation.open_prompts import OpenPrompt, open_figures, open_prompts
from recipe.evaluation.reading import read_picture
from recipe.evaluation.sheet import save_sheet
from recipe.evaluation.steering.comparison import figures
from recipe.export import SUGGESTIONS, weights_bytes
from recipe.flow.flow_export import flow_folder
from recipe.flow.flow_table import flow_table
from recipe.scale import MODEL_DIR, Scale
from recipe.scenes.captions import exact_caption

SEEDS: Final = (1, 2, 3)
OPEN_SEEDS: Final = (1, 2, 3, 4)
STRENGTHS: Final = (0.5, 0.7, 0.9)
ALL_OPEN: Final = 54
TIMED: Final = 5
SHOWN: Final = 30


@dataclass(frozen=True, slots=True)
class Opponent:
    """A loaded model and the values of requests that leave them open."""

    name: str
    pipeline: CascadePipeline
    defaults: ModelDefaults

    def draw(self, prompt: str, seed: int) -> PictureResult:
        """Draw a prompt with the model's defaults."""
        return self.pipeline.run(self.request(prompt, seed))

    def request(self, prompt: str, seed: int) -> GenerationRequest:
        """Return the request of a picture of the defaults' size."""
        defaults = self.defaults
        return GenerationRequest(
            prompt=prompt,
            width=defaults.width,
            height=defaults.height,
            seed=seed,
            decoder_seed=seed,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            decoder_steps=defaults.decoder_steps,
            decoder_guidance_scale=defaults.decoder_guidance_scale,
        )


def evaluate_flow(scale: Scale) -> None:
    """Measure both models; write JSON, a table and contact sheets."""
    folders = {"demo": MODEL_DIR, "demo-flow": flow_folder(scale)}
    models = {name: load_opponent(name, str(folder)) for name, folder in folders.items()}
    results = scale.results_dir
    results.mkdir(parents=True, exist_ok=True)
    found = {
        "weights_mb": {k: round(weights_bytes(v) / 1e6, 2) for k, v in folders.items()},
        "seconds": seconds(models),
        "held_out": {name: held_out(model, scale) for name, model in models.items()},
        "open_prompts": {name: open_ones(model, scale) for name, model in models.items()},
        "vary": {name: vary(model, scale) for name, model in models.items()},
    }
    (results / "flow.json").write_text(json.dumps(found, indent=2) + "\n")
    (results / "flow.md").write_text(flow_table(found))
    print(flow_table(found), flush=True)
    shown = [models["demo-flow"].draw(prompt, 7).pixels_hwc for prompt in SUGGESTIONS]
    save_sheet(shown, list(SUGGESTIONS), results / "flow_suggestions.png", 5)


def load_opponent(name: str, folder: str) -> Opponent:
    """Load a model folder as the service does."""
    checkpoint = open_checkpoint(ModelSource(model=folder))
    pipeline = CascadePipeline.load(checkpoint, Placement("cpu"), FAMILIES[checkpoint.family])
    return Opponent(name, pipeline, checkpoint.defaults)


def seconds(models: Mapping[str, Opponent]) -> dict[str, Any]:
    """Wall time of one picture by number of threads: median, fastest, slowest; models in turn."""
    threads, rows = torch.get_num_threads(), {}
    for count in (1, 2):
        torch.set_num_threads(count)
        taken: dict[str, list[float]] = {name: [] for name in models}
        for seed in range(TIMED):
            for name, model in models.items():
                started_s = time.perf_counter()
                model.draw(SUGGESTIONS[seed], seed)
                taken[name].append(time.perf_counter() - started_s)
        rows[f"{count}"] = {
            name: {
                "median": round(float(np.median(found)), 3),
                "fastest": round(min(found), 3),
                "slowest": round(max(found), 3),
            }
            for name, found in taken.items()
        }
    torch.set_num_threads(threads)
    return rows


def held_out(model: Opponent, scale: Scale) -> dict[str, Any]:
    """Shares of right attributes, of all pictures and of each seed's."""
    scenes = held_out_scenes("held out", scale.compared)
    captions = [exact_caption(scene) for scene in scenes]
    by_seed = [_pictures(model, captions, seed) for seed in SEEDS]
    if model.name == "demo-flow":
        save_sheet(by_seed[0][:SHOWN], captions[:SHOWN], scale.results_dir / "flow_held_out.png")
    whole = summary([p for pictures in by_seed for p in pictures], scenes * len(SEEDS))
    apart = [summary(pictures, scenes) for pictures in by_seed]
    return whole | {"spread": _spread(apart)}


def _spread(apart: list[dict[str, Any]]) -> dict[str, Any]:
    """Lowest and highest share of the seeds, by attribute."""
    backgrounds = [one["background"] for one in apart]
    spread: dict[str, Any] = {"background": [min(backgrounds), max(backgrounds)]}
    for things in ("one", "two"):
        shares = {a: [one[things][a] for one in apart] for a in ATTRIBUTES}
        spread[things] = {a: [min(found), max(found)] for a, found in shares.items()}
    return spread


def open_ones(model: Opponent, scale: Scale) -> dict[str, Any]:
    """Figures of prompts that name little, with four seeds each."""
    found = [
        (prompt, [read_picture(model.draw(prompt.text, seed).pixels_hwc) for seed in OPEN_SEEDS])
        for prompt in _open_prompts(scale)
    ]
    return open_figures(found)


def vary(model: Opponent, scale: Scale) -> dict[str, Any]:
    """Vary pictures of open prompts with a new seed; by strength what stays."""
    prompts = _open_prompts(scale)
    originals = [model.draw(prompt.text, 1000 + i) for i, prompt in enumerate(prompts)]
    before = [original.pixels_hwc for original in originals]
    asked = [prompt.named for prompt in prompts]
    return {
        f"{at}": figures(before, _varied(model, prompts, originals, at), asked) for at in STRENGTHS
    }


def _varied(
    model: Opponent, prompts: list[OpenPrompt], originals: list[PictureResult], strength: float
) -> list[Picture]:
    made = []
    for number, (prompt, original) in enumerate(zip(prompts, originals, strict=True)):
        request = replace(
            model.request(prompt.text, 2000 + number),
            kind="vary",
            latent_id="original",
            strength=strength,
        )
        made.append(model.pipeline.run(request, original.latent).pixels_hwc)
    return made


def _open_prompts(scale: Scale) -> list[OpenPrompt]:
    """Return prompts of every kind; the whole list has one kind after the other."""
    every = open_prompts(ALL_OPEN)
    return every[:: ALL_OPEN // scale.compared_open]


def _pictures(model: Opponent, captions: list[str], seed: int) -> list[Picture]:
    return [
        model.draw(caption, 1000 * seed + number).pixels_hwc
        for number, caption in enumerate(captions)
    ]
