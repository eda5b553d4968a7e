"""Reads what a picture of one thing shows, without a scene to compare it with."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipe.evaluation.metric import (
    CELL_PX,
    LEAST_CELLS,
    Mask,
    best_colour,
    best_shape,
    best_texture,
    border_rgb,
    extent,
    foreground,
    nearest_colour,
    shrink,
)
from recipe.scenes.scene import PLACES


@dataclass(frozen=True, slots=True)
class Reading:
    """What a picture shows: attribute -> value (only the background if there is no thing).

    `mask` holds the cells (h/4, w/4) of the thing.
    """

    shown: dict[str, str]
    mask: Mask


def read_picture(picture: NDArray[np.uint8]) -> Reading:
    """Read the background and the one thing of a picture uint8 (h, w, 3)."""
    rgb = picture.astype(np.float32) / 255
    border = border_rgb(rgb)
    mask = foreground(rgb, border)
    shown = {"background": nearest_colour(border)}
    if mask.sum() < LEAST_CELLS:
        return Reading(shown, mask)
    inner = np.kron(shrink(mask), np.ones((CELL_PX, CELL_PX), bool))
    texture = best_texture(rgb, inner)
    shown |= {
        "shape": best_shape(mask),
        "texture": texture,
        "colour": best_colour(rgb, inner, is_patterned=texture != "plain"),
        "place": nearest_place(mask),
    }
    return Reading(shown, mask)


def nearest_place(mask: Mask) -> str:
    """Name of the place that is nearest to the middle of a mask (h, w)."""
    left, right, top, bottom = extent(mask)
    centre = ((left + right + 1) / 2 / mask.shape[1], (top + bottom + 1) / 2 / mask.shape[0])
    return min(PLACES, key=lambda name: math.dist(PLACES[name], centre))


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / max(1, (one | other).sum()))
