"""Measures what *Vary details* keeps and changes: one Stage C latent, several Stage B seeds."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recipe.evaluation.drawing import Picture, compose, decode
from recipe.evaluation.metric import Score, border_rgb, foreground, score
from recipe.evaluation.sheet import save_sheet
from recipe.scenes.captions import exact_caption
from recipe.scenes.render import render
from recipe.scenes.scene import Scene

SEEDS: Final = (1, 2, 3)
SHOWN: Final = 4
BLOCK_PX: Final = 16


def vary_details(pipeline: Any, scenes: list[Scene], sheet: Path) -> dict[str, float]:
    """Compare pictures of the same latents under different Stage B seeds."""
    captions = [exact_caption(scene) for scene in scenes]
    latents = compose(pipeline, captions, SEEDS[0])
    first, *others = (decode(pipeline, latents, captions, seed) for seed in SEEDS)
    rows = [(first, "from "), *((other, "varied: ") for other in others)]
    save_sheet(
        [pictures[i] for pictures, _ in rows for i in range(SHOWN)],
        [label + captions[i] for _, label in rows for i in range(SHOWN)],
        sheet,
        SHOWN,
    )
    pairs = [
        (a, b, scene) for other in others for a, b, scene in zip(first, other, scenes, strict=True)
    ]
    return {
        "mask_iou": mean(mask_overlap(a, b) for a, b, _ in pairs),
        "place_and_colour_unchanged": mean(
            kept(score(a, s)) == kept(score(b, s)) for a, b, s in pairs
        ),
        "grain_correlation": mean(grain_correlation(a, b) for a, b, _ in pairs),
        "high_pass_correlation": mean(detail_correlation(a, b) for a, b, _ in pairs),
        "high_pass_correlation_of_true_renders": mean(
            detail_correlation(render(scene), render(with_other_grain(scene))) for scene in scenes
        ),
    }


def with_other_grain(scene: Scene) -> Scene:
    """Return the scene with other random details: a perfect variation."""
    return replace(scene, grain_seed=scene.grain_seed + 1)


def detail_correlation(a: Picture, b: Picture) -> float:
    """Correlation of all fine detail, outlines included."""
    return correlation(high_pass(a), high_pass(b))


def kept(found: Score) -> list[tuple[bool, bool]]:
    """The features that *Vary details* must not change."""
    return [(thing.place, thing.colour) for thing in found.things]


def mean(values: Iterable[float]) -> float:
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
    """Remove what 16-pixel blocks, smoothly blended, show; float32 (h, w, 3)."""
    height, width = picture.shape[:2]
    blocks = Image.fromarray(picture).resize(
        (width // BLOCK_PX, height // BLOCK_PX), Image.Resampling.BOX
    )
    smooth = blocks.resize((width, height), Image.Resampling.BICUBIC)
    detail = (picture.astype(np.float32) - np.asarray(smooth, np.float32)) / 255
    return np.asarray(detail, np.float32)


def grain_correlation(a: Picture, b: Picture) -> float:
    """Correlation of fine detail in blocks away from the outlines of both pictures."""
    cells = is_flat(foreground_of(a)) & is_flat(foreground_of(b))
    rows, columns = (side // 4 for side in cells.shape)
    blocks = cells.reshape(rows, 4, columns, 4).all((1, 3))
    pixels = np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), bool))
    return correlation(high_pass(a)[pixels], high_pass(b)[pixels])


def is_flat(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that lie on the same side of the outline as all their eight neighbours."""
    padded = np.pad(mask, 1, mode="edge")
    h, w = mask.shape
    around = np.stack([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)])
    return np.asarray(around.all(0) | ~around.any(0))


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Correlation of two zero-mean signals."""
    return float((a * b).sum() / np.sqrt(np.square(a).sum() * np.square(b).sum() + 1e-12))
