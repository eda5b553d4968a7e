"""Draw scenes with signed distance functions and soft random grain."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipe.scenes.scene import COLOURS, Scene, Thing

Array = NDArray[np.floating[Any]]

RADIUS_SCALE = {
    "circle": 1.0,
    "square": 0.88,
    "triangle": 1.12,
    "star": 1.24,
    "heart": 1.35,
    "ring": 1.08,
}
"""Factors that give the shapes about the same visual weight."""
REACH = 1.4
"""No shape reaches further than this many radii from its centre."""
PATTERN_PX = 32.0
"""Every pattern repeats after this many pixels in both directions, which are two positions of
Stage B: a pattern that kept its own step would have to be drawn differently at every position."""
DOT_RADIUS_PX = 10.0
GRAIN = ((40.0, 0.03), (14.0, 0.055), (7.0, 0.045))
"""(cell size in pixels, amplitude) of the noise octaves that cover the picture."""


def base_rgb(colour: str) -> Array:
    """Return a colour as float32 (3,) in [0, 1]."""
    return np.asarray(COLOURS[colour], np.float32) / 255


def accent_rgb(base: Array) -> Array:
    """Return the second colour of a texture: less than half as bright, or grey on black."""
    is_dark = float(base.mean()) < 0.2
    return np.full(3, 0.5, np.float32) if is_dark else (base * 0.45).astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape_px: tuple[int, int], cell_px: float) -> Array:
    """Value noise (h, w) with unit variance at its knots, `cell_px` apart."""
    h, w = shape_px
    knots = rng.standard_normal((int(h / cell_px) + 2, int(w / cell_px) + 2)).astype(np.float32)
    ys, fy = _knot_positions(h, cell_px)
    xs, fx = _knot_positions(w, cell_px)
    rows = knots[ys] * (1 - fy)[:, None] + knots[ys + 1] * fy[:, None]
    noise: Array = rows[:, xs] * (1 - fx) + rows[:, xs + 1] * fx
    return noise


def _knot_positions(length_px: int, cell_px: float) -> tuple[NDArray[np.int64], Array]:
    at = np.arange(length_px, dtype=np.float32) / cell_px
    index = at.astype(np.int64)
    fraction = at - index
    return index, fraction * fraction * (3 - 2 * fraction)


def distance(shape: str, x: Array, y: Array, radius_px: float) -> Array:
    """Signed distance in pixels to the outline, negative inside; y points down."""
    r = radius_px * RADIUS_SCALE[shape]
    d: Array
    if shape == "circle":
        d = np.hypot(x, y) - r
    elif shape == "square":
        d = np.maximum(np.abs(x), np.abs(y)) - r
    elif shape == "ring":
        d = np.abs(np.hypot(x, y) - r * 0.74) - r * 0.26
    elif shape == "triangle":
        d = _polygon(x, y, [(0.0, -r), (r * 0.95, r * 0.72), (-r * 0.95, r * 0.72)])
    elif shape == "star":
        d = _polygon(x, y, _star_corners(r))
    else:
        d = _heart(x, y, r)
    return np.asarray(d, np.float32)


def _star_corners(r: float) -> list[tuple[float, float]]:
    corners = []
    for i in range(10):
        angle, reach = -math.pi / 2 + i * math.pi / 5, r if i % 2 == 0 else r * 0.46
        corners.append((reach * math.cos(angle), reach * math.sin(angle)))
    return corners


def _polygon(x: Array, y: Array, corners: list[tuple[float, float]]) -> Array:
    """Distance to a polygon: nearest edge, sign by crossing parity."""
    nearest = np.full(x.shape, np.inf, np.float32)
    is_inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[-1:] + corners[:-1], strict=True):
        ex, ey, qx, qy = bx - ax, by - ay, x - ax, y - ay
        along = np.clip((qx * ex + qy * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (qx - ex * along) ** 2 + (qy - ey * along) ** 2)
        if ey != 0:
            crosses = (ay > y) != (by > y)
            is_inside ^= crosses & (x < ax + (y - ay) * ex / ey)
    return np.asarray(np.sqrt(nearest) * np.where(is_inside, -1, 1))


def _heart(x: Array, y: Array, r: float) -> Array:
    """Two round lobes over a right-angled tip, about r tall."""
    u, v = np.abs(x) / r, 0.5 - y / r
    lobe = np.hypot(u - 0.25, v - 0.75) - math.sqrt(2) / 4
    half = np.maximum(u + v, 0) / 2
    tip = np.minimum(np.hypot(u, v - 1), np.hypot(u - half, v - half)) * np.sign(u - v)
    return np.asarray(np.where(u + v > 1, lobe, tip) * r)


def texture_weight(texture: str, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """How much of the accent colour each pixel takes, in [0, 1].

    Patterns are fixed to the canvas, like wallpaper seen through the thing; chance moves them by
    half a period, which swaps the two colours of stripes and checks.
    """
    half = PATTERN_PX / 2
    shift = half * int(rng.integers(2))
    if texture == "striped":
        at = (x + y + shift) % PATTERN_PX
        weight = 0.5 + (half / 2 - np.abs(at - half)) / math.sqrt(2)
    elif texture == "checkered":
        waves = np.sin((x + shift) * math.pi / half) * np.sin(y * math.pi / half)
        weight = 0.5 + waves * half / math.pi
    elif texture == "dotted":
        near_x = (x + shift) % PATTERN_PX - half
        near_y = (y + shift) % PATTERN_PX - half
        weight = 0.5 - (np.hypot(near_x, near_y) - DOT_RADIUS_PX)
    else:
        weight = np.zeros_like(x)
    return np.clip(np.asarray(weight, np.float32), 0, 1)


def coverage(thing: Thing, size_px: tuple[int, int], scale: float = 1.0) -> Array:
    """Antialiased mask (h, w) of one thing on a canvas of (width, height) at `scale`."""
    width, height = (round(side * scale) for side in size_px)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (xs + 0.5) / scale - thing.x_px, (ys + 0.5) / scale - thing.y_px
    reach = thing.radius_px * REACH
    near = np.nonzero((np.abs(x) < reach) & (np.abs(y) < reach))
    mask = np.zeros((height, width), np.float32)
    inside_px = -distance(thing.shape, x[near], y[near], thing.radius_px)
    mask[near] = np.clip(0.5 + inside_px * scale, 0, 1)
    return mask


def render(scene: Scene) -> NDArray[np.uint8]:
    """Draw a scene as uint8 (height, width, 3)."""
    rng = np.random.default_rng(scene.grain_seed)
    shape = (scene.height_px, scene.width_px)
    picture = np.empty((*shape, 3), np.float32)
    picture[:] = base_rgb(scene.background) + rng.uniform(-0.015, 0.015, 3)
    for thing in scene.things:
        _paint(picture, thing, rng)
    grain = sum(a * smooth_noise(rng, shape, cell) for cell, a in GRAIN)
    picture += np.asarray(grain, np.float32)[..., None]
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _paint(picture: Array, thing: Thing, rng: np.random.Generator) -> None:
    mask = coverage(thing, (picture.shape[1], picture.shape[0]))
    rows, cols = np.nonzero(mask)
    base = np.clip(base_rgb(thing.colour) + rng.uniform(-0.02, 0.02, 3), 0, 1).astype(np.float32)
    x, y = cols.astype(np.float32) + 0.5, rows.astype(np.float32) + 0.5
    accent = texture_weight(thing.texture, x, y, rng)[:, None]
    colour = base * (1 - accent) + accent_rgb(base) * accent
    alpha = mask[rows, cols][:, None]
    picture[rows, cols] = picture[rows, cols] * (1 - alpha) + colour * alpha
