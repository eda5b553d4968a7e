"""Measure every link of the exported cascade on held-out scenes, with the stock pipelines."""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from cascade_core.conditioning.latent_encoder import LatentEncoder
from recipe.device import to_pixels
from recipe.evaluation.drawing import Picture, decode, draw, load_pipeline
from recipe.evaluation.evaluation_table import ATTRIBUTES, table
from recipe.evaluation.metric import Score, score
from recipe.evaluation.open_prompts import measure_open_prompts
from recipe.evaluation.share import share
from recipe.evaluation.sheet import save_sheet
from recipe.evaluation.vary import vary_details
from recipe.export import SUGGESTIONS, model_folder, weights_bytes
from recipe.scale import Scale
from recipe.scenes.captions import exact_caption
from recipe.scenes.render import render
from recipe.scenes.scene import Scene, sample_scene

SEEDS: Final = (1, 2, 3)
SHOWN: Final = 30
FAILURES_SHOWN: Final = 12
OTHER_CANVASES_PX: Final = ((384, 256), (256, 384))


@dataclass(frozen=True, slots=True)
class Bench:
    """The loaded cascade, the held-out scenes and the folder of the sheets."""

    pipeline: Any
    encoder: LatentEncoder
    scenes: list[Scene]
    originals: list[Picture]
    results: Path


def evaluate(scale: Scale) -> None:
    """Measure the exported model and write JSON, a table and contact sheets."""
    folder = model_folder(scale)
    bench = make_bench(scale, folder)
    bench.results.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {
        "weights_mb": round(weights_bytes(folder) / 1e6, 2),
        "picture_seconds_two_threads": picture_seconds(bench.pipeline),
        "stage_a_psnr_db": stage_a_psnr(bench),
        "links": {
            "true renders": summary(bench.originals, bench.scenes),
            "A": summary(through_a(bench), bench.scenes),
            "compressor, B, A": summary(through_b(bench), bench.scenes),
            "C, B, A": link_c(bench, scale),
            **{f"C, B, A at {w}x{h}": link_canvas(bench, (w, h)) for w, h in OTHER_CANVASES_PX},
        },
        "open_prompts": measure_open_prompts(bench.pipeline, scale),
        "vary_details": vary_details(bench.pipeline, bench.scenes, bench.results / "varied.png"),
    }
    (bench.results / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    (bench.results / "evaluation.md").write_text(table(figures))
    print(table(figures), flush=True)
    captions = list(SUGGESTIONS)
    pictures = draw(bench.pipeline, captions, 7)
    save_sheet(pictures, captions, bench.results / "suggestions.png", 5)


def make_bench(scale: Scale, folder: Path) -> Bench:
    """Load everything and draw the held-out scenes."""
    scenes = held_out_scenes("held out", scale.evaluated)
    originals = [render(scene) for scene in scenes]
    encoder = LatentEncoder.from_pretrained(folder / "latent_encoder", torch_dtype=torch.float32)
    return Bench(load_pipeline(folder), encoder, scenes, originals, scale.results_dir)


def held_out_scenes(seed: str, count: int, size_px: tuple[int, int] = (256, 256)) -> list[Scene]:
    """Draw scenes of combinations that training never saw; a third of them with two things."""
    rng = random.Random(seed)
    return [
        sample_scene(rng, held_out=True, things=2 if i % 3 == 2 else 1, size_px=size_px)
        for i in range(count)
    ]


def through_a(bench: Bench) -> list[Picture]:
    """Encode and decode the originals with Stage A."""
    pictures = []
    for original in bench.originals:
        with torch.no_grad():
            output = bench.pipeline.vqgan(to_pixels(original[None])).sample[0].clamp(0, 1)
        pictures.append((output.permute(1, 2, 0) * 255 + 0.5).numpy().astype(np.uint8))
    return pictures


def stage_a_psnr(bench: Bench) -> float:
    """Peak signal to noise ratio of Stage A's reconstruction in dB."""
    pairs = zip(through_a(bench), bench.originals, strict=True)
    errors = [np.square((a.astype(np.float64) - b) / 255).mean() for a, b in pairs]
    return round(-10 * float(np.log10(np.mean(errors))), 2)


def through_b(bench: Bench) -> list[Picture]:
    """Compress the originals and let Stage B and Stage A draw them again."""
    captions = [exact_caption(scene) for scene in bench.scenes]
    latents: Tensor = bench.encoder.encode(to_pixels(np.stack(bench.originals)))
    return decode(bench.pipeline, latents, captions, 1)


def link_c(bench: Bench, scale: Scale) -> dict[str, Any]:
    """Draw held-out captions with the whole cascade, three seeds each."""
    scenes = held_out_scenes("held out", scale.composed)
    captions = [exact_caption(scene) for scene in scenes]
    pictures = [draw(bench.pipeline, captions, seed) for seed in SEEDS]
    save_sheet(pictures[0][:SHOWN], captions[:SHOWN], bench.results / "held_out.png")
    drawn = [p for seed in pictures for p in seed]
    asked = scenes * len(SEEDS)
    wrong = [i for i in range(len(drawn)) if not is_right(score(drawn[i], asked[i]))]
    shown = wrong[:FAILURES_SHOWN]
    captions = [exact_caption(asked[i]) for i in shown]
    save_sheet([drawn[i] for i in shown], captions, bench.results / "failures.png")
    return summary(drawn, asked)


def link_canvas(bench: Bench, size_px: tuple[int, int]) -> dict[str, Any]:
    """Draw held-out captions with the whole cascade on another canvas."""
    name = "x".join(map(str, size_px))
    scenes = held_out_scenes(name, max(1, len(bench.scenes) // 2), size_px)
    captions = [exact_caption(scene) for scene in scenes]
    pictures = draw(bench.pipeline, captions, 1, size_px)
    save_sheet(pictures[:6], captions[:6], bench.results / f"{name}.png")
    return summary(pictures, scenes)


def is_right(found: Score) -> bool:
    """Return True if nothing is wrong with a picture."""
    return found.background and all(getattr(t, a) for t in found.things for a in ATTRIBUTES)


def summary(pictures: list[Picture], scenes: list[Scene]) -> dict[str, Any]:
    """Share of right attributes, apart for scenes with one and with two things."""
    scores = [score(p, s) for p, s in zip(pictures, scenes, strict=True)]
    shares: dict[str, Any] = {
        "background": share(s.background for s in scores),
        "pictures": len(scores),
    }
    for count, name in ((1, "one"), (2, "two")):
        things = [thing for s in scores if len(s.things) == count for thing in s.things]
        shares[name] = {a: share(getattr(t, a) for t in things) for a in ATTRIBUTES}
        shares[name]["count"] = len(things)
    return shares


def picture_seconds(pipeline: Any) -> float:
    """Median wall time of one picture on two threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    times_s = []
    for seed in range(5):
        started_s = time.monotonic()
        draw(pipeline, [SUGGESTIONS[0]], seed)
        times_s.append(time.monotonic() - started_s)
    torch.set_num_threads(threads)
    return round(float(np.median(times_s)), 2)
