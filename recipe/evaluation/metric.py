"""Measures a picture against the scene of its caption; nothing in this module is learned.

The outline is found by difference from the border colour, its kind by the best overlap with drawn
templates, its texture by the spatial frequencies of its brightness.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recipe.scenes.render import (
    PATTERN_PX,
    Array,
    accent_rgb,
    base_rgb,
    distance,
)
from recipe.scenes.scene import COLOUR_NAMES, EDGE_PX, PLACES, RADIUS_PX, SHAPES, Scene, Thing

Mask = NDArray[np.bool_]

CELL_PX: Final = 4
BORDER_PX: Final = 8
PLACE_TOLERANCE_PX: Final = 30.0
LEAST_CELLS: Final = 40
"""A smaller foreground counts as no thing at all; the smallest true one has about 150."""
CONTRAST: Final = 0.15
BRIGHTNESS_SLACK: Final = 0.16
"""How far grain may move the brightness of the background."""
LEAST_STRENGTH: Final = 0.09
"""A weaker pattern is grain: true patterns reach 0.13 to 0.3, plain surfaces 0.07 at most."""


@dataclass(frozen=True, slots=True)
class ThingScore:
    """The attributes of one thing that are right; all are false if no thing was found."""

    is_present: bool = False
    place: bool = False
    colour: bool = False
    shape: bool = False
    texture: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """The attributes of a picture that are right."""

    background: bool
    things: tuple[ThingScore, ...]


def score(picture: NDArray[np.uint8], scene: Scene) -> Score:
    """Compare a picture uint8 (h, w, 3) with its scene."""
    rgb = picture.astype(np.float32) / 255
    border = border_rgb(rgb)
    mask = foreground(rgb, border)
    things = tuple(
        _score_thing(rgb, mask & _own_half(thing, scene, mask.shape), thing, scene)
        for thing in scene.things
    )
    return Score(nearest_colour(border) == scene.background, things)


def border_rgb(rgb: Array) -> Array:
    """Median colour (3,) of the frame."""
    b = BORDER_PX
    strips = (rgb[:b], rgb[-b:], rgb[:, :b], rgb[:, -b:])
    frame = np.concatenate([strip.reshape(-1, 3) for strip in strips])
    return np.asarray(np.median(frame, 0), np.float32)


def nearest_colour(rgb: Array) -> str:
    """Name of the closest colour of the vocabulary."""
    return min(COLOUR_NAMES, key=lambda name: float(np.square(base_rgb(name) - rgb).sum()))


def foreground(rgb: Array, border: Array) -> Mask:
    """Cells (h/4, w/4) that differ from the background in hue or clearly in brightness."""
    h, w = (side // CELL_PX for side in rgb.shape[:2])
    cells = rgb[: h * CELL_PX, : w * CELL_PX].reshape(h, CELL_PX, w, CELL_PX, 3).mean((1, 3))
    difference = cells - border
    brightness = difference.mean(-1)
    hue = np.square(difference - brightness[..., None]).sum(-1)
    excess = np.maximum(0, np.abs(brightness) - BRIGHTNESS_SLACK)
    differs = np.sqrt(hue + 3 * excess**2) > CONTRAST
    padded = np.pad(differs.astype(np.int64), 1, mode="edge")
    votes = sum(padded[i : i + h, j : j + w] for i in range(3) for j in range(3))
    # A cell follows a clear majority around it: specks vanish, outlines stay.
    return np.asarray(np.where(differs, votes >= 4, votes >= 7), bool)


def _own_half(thing: Thing, scene: Scene, shape: tuple[int, ...]) -> Mask:
    """Cells that belong to a thing: its half of the picture where there are two."""
    own = np.ones(shape, bool)
    if len(scene.things) == 2:
        y, x = np.indices(shape)
        at_x, at_y = PLACES[thing.place]
        if at_x != 0.5:
            own &= (x < shape[1] / 2) == (at_x < 0.5)
        if at_y != 0.5:
            own &= (y < shape[0] / 2) == (at_y < 0.5)
    return own


def _score_thing(rgb: Array, mask: Mask, thing: Thing, scene: Scene) -> ThingScore:
    if mask.sum() < LEAST_CELLS:
        return ThingScore()
    left, right, top, bottom = extent(mask)
    centre_px = ((left + right + 1) * CELL_PX / 2, (top + bottom + 1) * CELL_PX / 2)
    inner = np.kron(shrink(mask), np.ones((CELL_PX, CELL_PX), bool))
    return ThingScore(
        is_present=True,
        place=_is_in_place(centre_px, thing, scene),
        colour=best_colour(rgb, inner, is_patterned=thing.texture != "plain") == thing.colour,
        shape=best_shape(mask) == thing.shape,
        texture=best_texture(rgb, inner) == thing.texture,
    )


def extent(mask: Mask) -> tuple[float, float, float, float]:
    """Left, right, top, bottom cell of a mask, without its outermost percent."""
    ys, xs = np.nonzero(mask)
    left, right = np.percentile(xs, (1, 99))
    top, bottom = np.percentile(ys, (1, 99))
    return float(left), float(right), float(top), float(bottom)


def shrink(mask: Mask) -> Mask:
    """Drop the cells at the outline; keep the mask where nothing would remain."""
    padded = np.pad(mask, 1)
    h, w = mask.shape
    inner = mask.copy()
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        inner &= padded[dy : dy + h, dx : dx + w]
    return inner if inner.sum() >= LEAST_CELLS // 2 else mask


def _is_in_place(centre_px: tuple[float, float], thing: Thing, scene: Scene) -> bool:
    """Return True if the centre is as near to the named place as the thing's size allows."""
    margin = RADIUS_PX[thing.size][0] * 1.1 + EDGE_PX
    sides = (scene.width_px, scene.height_px)
    wanted = [
        min(max(fraction * side, margin), side - margin)
        for fraction, side in zip(PLACES[thing.place], sides, strict=True)
    ]
    return math.dist(centre_px, wanted) < PLACE_TOLERANCE_PX


def best_colour(rgb: Array, inner: Mask, *, is_patterned: bool) -> str:
    """Colour whose base (and accent, where the thing has a pattern) fits most pixels best."""
    pixels = rgb[: inner.shape[0], : inner.shape[1]][inner]

    def misfit(name: str) -> float:
        base = base_rgb(name)
        error = np.linalg.norm(pixels - base, axis=1)
        if is_patterned:
            error = np.minimum(error, np.linalg.norm(pixels - accent_rgb(base), axis=1))
        return float(np.median(error))

    return min(COLOUR_NAMES, key=misfit)


def best_shape(mask: Mask) -> str:
    """Shape whose template overlaps most with the mask, both scaled to the same box."""
    found = _boxed(mask)
    best, best_overlap = SHAPES[0], -1.0
    for shape in SHAPES:
        template = _template(shape)
        overlap = float((found & template).sum() / (found | template).sum())
        if overlap > best_overlap:
            best, best_overlap = shape, overlap
    return best


@lru_cache
def _template(shape: str) -> Mask:
    at = (np.arange(96, dtype=np.float32) - 47.5) * 2
    x, y = np.meshgrid(at, at)
    return _boxed(distance(shape, x, y, 56.0) < 0)


def _boxed(mask: Mask, side: int = 48) -> Mask:
    """Resample a mask so that its extent fills a square of `side` cells by its longer side."""
    left, right, top, bottom = extent(mask)
    reach = max(right - left, bottom - top) + 1
    steps = ((np.arange(side) + 0.5) / side - 0.5) * reach
    xs = np.round((left + right) / 2 + steps).astype(int)
    ys = np.round((top + bottom) / 2 + steps).astype(int)
    is_inside = ((ys >= 0) & (ys < mask.shape[0]))[:, None] & ((xs >= 0) & (xs < mask.shape[1]))
    picked = mask[np.clip(ys, 0, mask.shape[0] - 1)][:, np.clip(xs, 0, mask.shape[1] - 1)]
    return np.asarray(picked & is_inside, bool)


def best_texture(rgb: Array, inner: Mask) -> str:
    """Name the texture inside a mask (h, w) from the frequencies of its brightness."""
    ys, xs = np.nonzero(inner)
    brightness = rgb[ys, xs].mean(1)
    relative = brightness / max(float(np.percentile(brightness, 85)), 0.4)
    wave = relative - relative.mean()

    def power(frequency_x: float, frequency_y: float) -> float:
        phase = 2 * math.pi * (frequency_x * xs + frequency_y * ys)
        return float(np.hypot((wave * np.cos(phase)).mean(), (wave * np.sin(phase)).mean()))

    f = 1 / PATTERN_PX
    strengths = {
        "striped": power(f, f) - power(f, -f),
        "dotted": power(f, 0) + power(0, f),
        "checkered": min(power(f, f), power(f, -f)) * 2,
    }
    best = max(strengths, key=lambda name: strengths[name])
    return best if strengths[best] > LEAST_STRENGTH else "plain"
