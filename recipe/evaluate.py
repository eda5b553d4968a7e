"""Measure every link of the exported cascade on held-out scenes, with the stock pipelines."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipe.captions import exact_caption
from recipe.compressor import load_compressor, to_pixels
from recipe.data import thumbnail
from recipe.evaluation_table import ATTRIBUTES, table
from recipe.export import SUGGESTIONS, load_pipeline, weights_bytes
from recipe.metric import Score, border_rgb, foreground, score
from recipe.render import render
from recipe.scale import MODEL_DIR, Scale
from recipe.scene import Scene, sample_scene
from recipe.sheet import save_sheet

Picture = NDArray[np.uint8]

SEEDS: Final = (1, 2, 3)
BATCH: Final = 10
STEPS: Final = 20
DECODER_STEPS: Final = 10
GUIDANCE: Final = 2.0
VARIED: Final = 12


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured: the loaded cascade, the compressor and held-out scenes."""

    pipeline: Any
    compressor: Any
    scenes: list[Scene]
    originals: list[Picture]


def evaluate(scale: Scale) -> None:
    """Measure the exported model and write JSON, a table and contact sheets."""
    folder = MODEL_DIR if scale.name == "full" else scale.work_dir / "model"
    results = scale.results_dir
    results.mkdir(parents=True, exist_ok=True)
    bench = make_bench(scale, folder)
    figures: dict[str, Any] = {
        "weights_mb": round(weights_bytes(folder) / 1e6, 2),
        "picture_seconds_two_threads": picture_seconds(bench.pipeline),
        "stage_a_psnr_db": stage_a_psnr(bench),
        "links": {
            "true renders": summary(bench.originals, bench.scenes),
            "A": summary(through_a(bench), bench.scenes),
            "compressor, B, A": link_b(bench),
            "C, B, A": link_c(bench, results),
        },
        "vary_details": vary_details(bench),
    }
    (results / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    (results / "evaluation.md").write_text(table(figures))
    print(table(figures), flush=True)
    captions = list(SUGGESTIONS)
    save_sheet(draw(bench.pipeline, captions, 7), captions, results / "suggestions.png", 5)


def make_bench(scale: Scale, folder: Path) -> Bench:
    """Load everything and draw the held-out scenes: two thirds with one thing."""
    rng = random.Random("held out")
    scenes = [
        sample_scene(rng, held_out=True, things=2 if i % 3 == 2 else 1)
        for i in range(scale.evaluated)
    ]
    originals = [render(scene) for scene in scenes]
    return Bench(load_pipeline(folder), load_compressor(scale), scenes, originals)


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One generator per picture, so that a picture does not depend on its batch."""
    return [torch.Generator().manual_seed(1000 * seed + i) for i in range(count)]


def draw(
    pipeline: Any, captions: list[str], seed: int, size_px: tuple[int, int] = (256, 256)
) -> list[Picture]:
    """Draw captions with the whole cascade."""
    pictures: list[Picture] = []
    for part, chosen in in_batches(captions, generators(seed, len(captions))):
        images = pipeline(
            prompt=part,
            width=size_px[0],
            height=size_px[1],
            prior_num_inference_steps=STEPS,
            num_inference_steps=DECODER_STEPS,
            prior_guidance_scale=GUIDANCE,
            generator=chosen,
        ).images
        pictures += [np.asarray(image) for image in images]
    return pictures


def decode(pipeline: Any, latents: Tensor, captions: list[str], seed: int) -> list[Picture]:
    """Draw Stage C latents (B, 16, 6, 6) with Stage B and Stage A alone."""
    images = pipeline.decoder_pipe(
        image_embeddings=latents,
        prompt=captions,
        num_inference_steps=DECODER_STEPS,
        guidance_scale=0.0,
        generator=generators(seed, len(captions)),
    ).images
    return [np.asarray(image) for image in images]


def in_batches(
    captions: list[str], chosen: list[torch.Generator]
) -> Iterator[tuple[list[str], list[torch.Generator]]]:
    """Split captions and their generators alike."""
    for start in range(0, len(captions), BATCH):
        yield captions[start : start + BATCH], chosen[start : start + BATCH]


def through_a(bench: Bench) -> list[Picture]:
    """Encode and decode the originals with Stage A."""
    vqgan = bench.pipeline.vqgan
    pictures = []
    for original in bench.originals:
        with torch.no_grad():
            output = vqgan(to_pixels(original[None].copy())).sample[0].clamp(0, 1)
        pictures.append((output.permute(1, 2, 0) * 255 + 0.5).numpy().astype(np.uint8))
    return pictures


def stage_a_psnr(bench: Bench) -> float:
    """Peak signal to noise ratio of Stage A's reconstruction in dB."""
    pairs = zip(through_a(bench), bench.originals, strict=True)
    errors = [np.square((a.astype(np.float64) - b) / 255).mean() for a, b in pairs]
    return round(-10 * float(np.log10(np.mean(errors))), 2)


def link_b(bench: Bench) -> dict[str, Any]:
    """Compress the originals and let Stage B and Stage A draw them again."""
    captions = [exact_caption(scene) for scene in bench.scenes]
    thumbnails = np.stack([thumbnail(original) for original in bench.originals])
    with torch.no_grad():
        latents = bench.compressor(to_pixels(thumbnails))
    pictures: list[Picture] = []
    for start in range(0, len(captions), BATCH):
        part = slice(start, start + BATCH)
        pictures += decode(bench.pipeline, latents[part], captions[part], 1)
    return summary(pictures, bench.scenes)


def link_c(bench: Bench, results: Path) -> dict[str, Any]:
    """Draw every held-out caption with the whole cascade, three seeds each."""
    captions = [exact_caption(scene) for scene in bench.scenes]
    pictures = [draw(bench.pipeline, captions, seed) for seed in SEEDS]
    save_sheet(pictures[0][:30], captions[:30], results / "held_out.png")
    return summary([p for seed in pictures for p in seed], bench.scenes * len(SEEDS))


def summary(pictures: list[Picture], scenes: list[Scene]) -> dict[str, Any]:
    """Share of right attributes, apart for scenes with one and with two things."""
    scores = [score(p, s) for p, s in zip(pictures, scenes, strict=True)]
    shares: dict[str, Any] = {"background": share(s.background for s in scores)}
    for count, name in ((1, "one"), (2, "two")):
        things = [thing for s in scores if len(s.things) == count for thing in s.things]
        shares[name] = {a: share(getattr(t, a) for t in things) for a in ATTRIBUTES}
    return shares


def share(flags: Iterator[bool]) -> float:
    """Share of true flags."""
    values = list(flags)
    return round(sum(values) / max(1, len(values)), 4)


def vary_details(bench: Bench) -> dict[str, float]:
    """Compare pictures of one Stage C latent under different Stage B seeds."""
    scenes = bench.scenes[:VARIED]
    captions = [exact_caption(scene) for scene in scenes]
    latents = bench.pipeline.prior_pipe(
        prompt=captions,
        width=256,
        height=256,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=generators(1, len(captions)),
    ).image_embeddings
    first, *others = (decode(bench.pipeline, latents, captions, seed) for seed in SEEDS)
    pairs = [
        (a, b, scene) for other in others for a, b, scene in zip(first, other, scenes, strict=True)
    ]
    return {
        "mask_iou": mean(mask_overlap(a, b) for a, b, _ in pairs),
        "place_and_colour_unchanged": share(
            kept(score(a, s)) == kept(score(b, s)) for a, b, s in pairs
        ),
        "grain_correlation": mean(grain_correlation(a, b) for a, b, _ in pairs),
        "high_pass_correlation": mean(correlation(high_pass(a), high_pass(b)) for a, b, _ in pairs),
    }


def kept(found: Score) -> list[tuple[bool, bool]]:
    """What *Vary details* must not change."""
    return [(thing.place, thing.colour) for thing in found.things]


def mean(values: Iterator[float]) -> float:
    """Rounded mean."""
    return round(float(np.mean(list(values))), 4)


def foreground_of(picture: Picture) -> NDArray[np.bool_]:
    """Foreground cells (h/4, w/4) of a picture."""
    rgb = picture.astype(np.float32) / 255
    return foreground(rgb, border_rgb(rgb))


def mask_overlap(a: Picture, b: Picture) -> float:
    """Intersection over union of the foregrounds."""
    one, two = foreground_of(a), foreground_of(b)
    return float((one & two).sum() / max(1, (one | two).sum()))


def high_pass(picture: Picture) -> NDArray[np.float32]:
    """Remove what 16-pixel blocks show (h, w, 3)."""
    rgb = picture.astype(np.float32) / 255
    h, w = (side // 16 for side in rgb.shape[:2])
    blocks = rgb.reshape(h, 16, w, 16, 3)
    return np.asarray(blocks - blocks.mean((1, 3), keepdims=True)).reshape(rgb.shape)


def grain_correlation(a: Picture, b: Picture) -> float:
    """Correlation of fine detail in 16-pixel blocks away from the outlines of both pictures."""
    cells = is_flat(foreground_of(a)) & is_flat(foreground_of(b))
    rows, columns = (side // 4 for side in cells.shape)
    blocks = cells.reshape(rows, 4, columns, 4).all((1, 3))
    pixels = np.kron(blocks, np.ones((16, 16), bool))
    return correlation(high_pass(a)[pixels], high_pass(b)[pixels])


def is_flat(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells whose eight neighbours are all inside or all outside like themselves."""
    padded = np.pad(mask, 1, mode="edge")
    h, w = mask.shape
    around = np.stack([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)])
    return np.asarray(around.all(0) | ~around.any(0))


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Correlation of two zero-mean signals."""
    return float((a * b).sum() / np.sqrt(np.square(a).sum() * np.square(b).sum() + 1e-12))


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
