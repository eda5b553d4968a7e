"""The demo model's small world: what a picture may contain, and random scenes drawn from it."""

import random
from dataclasses import dataclass
from typing import Final

Rgb = tuple[int, int, int]

COLOURS: Final[dict[str, Rgb]] = {
    "red": (220, 40, 42),
    "orange": (246, 140, 30),
    "yellow": (250, 220, 55),
    "green": (44, 158, 68),
    "cyan": (70, 205, 212),
    "blue": (44, 84, 214),
    "purple": (134, 58, 180),
    "pink": (247, 150, 195),
    "black": (26, 26, 30),
    "white": (246, 246, 242),
}
COLOUR_NAMES: Final = tuple(COLOURS)
SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "ring")
TEXTURES: Final = ("plain", "striped", "dotted", "checkered")
SIZES: Final = ("medium", "small", "large")
PLACES: Final[dict[str, tuple[float, float]]] = {
    "center": (0.5, 0.5),
    "left": (0.28, 0.5),
    "right": (0.72, 0.5),
    "top": (0.5, 0.28),
    "bottom": (0.5, 0.72),
    "top left": (0.28, 0.28),
    "top right": (0.72, 0.28),
    "bottom left": (0.28, 0.72),
    "bottom right": (0.72, 0.72),
}
"""Name -> centre as (x, y) fractions of the canvas."""
PAIRS: Final = (("left", "right"), ("top", "bottom"))

RADIUS_PX: Final[dict[str, tuple[float, float]]] = {
    "small": (40.0, 44.0),
    "medium": (51.0, 55.0),
    "large": (63.0, 67.0),
}
PAIR_RADIUS_PX: Final = (46.0, 51.0)
EDGE_PX: Final = 4.0
"""Free space kept between a thing and the border."""
JITTER_PX: Final = 4.0
HELD_OUT_EVERY: Final = 16


@dataclass(frozen=True, slots=True)
class Thing:
    """One coloured, textured shape. Names index the vocabularies above; lengths are pixels."""

    shape: str
    colour: str
    texture: str
    place: str
    size: str
    x_px: float
    y_px: float
    radius_px: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A background colour and one or two things; `grain_seed` fixes the random details."""

    background: str
    things: tuple[Thing, ...]
    grain_seed: int
    width_px: int = 256
    height_px: int = 256


def is_held_out(background: str, shape: str, colour: str) -> bool:
    """Return True if training leaves this combination out, so that it is new to the evaluation."""
    code = COLOUR_NAMES.index(background) * 7 + COLOUR_NAMES.index(colour) * 3
    return (code + SHAPES.index(shape) * 5) % HELD_OUT_EVERY == 0


def has_held_out(scene: Scene) -> bool:
    """Return True if any thing of the scene is a held-out combination."""
    return any(is_held_out(scene.background, t.shape, t.colour) for t in scene.things)


def sample_scene(
    rng: random.Random,
    *,
    held_out: bool = False,
    things: int | None = None,
    size_px: tuple[int, int] = (256, 256),
) -> Scene:
    """Draw a scene at random.

    Args:
        rng: source of randomness.
        held_out: draw only held-out combinations instead of only training ones.
        things: one or two; by default mostly one.
        size_px: canvas as (width, height).
    """
    count = things or (2 if rng.random() < 0.3 else 1)
    while True:
        scene = _any_scene(rng, count, size_px)
        outside = [is_held_out(scene.background, t.shape, t.colour) for t in scene.things]
        if all(outside) if held_out else not any(outside):
            return scene


def _any_scene(rng: random.Random, count: int, size_px: tuple[int, int]) -> Scene:
    background = rng.choice(COLOUR_NAMES)
    if count == 1:
        place = rng.choice(tuple(PLACES))
        size = rng.choice(("medium", "medium", "small", "large"))
        placed = [(place, size)]
    else:
        pair = list(rng.choice(PAIRS))
        rng.shuffle(pair)
        placed = [(place, "medium") for place in pair]
    things = tuple(_thing(rng, background, p, s, count, size_px) for p, s in placed)
    return Scene(background, things, rng.getrandbits(31), *size_px)


def _thing(
    rng: random.Random,
    background: str,
    place: str,
    size: str,
    count: int,
    size_px: tuple[int, int],
) -> Thing:
    radius_px = rng.uniform(*(RADIUS_PX[size] if count == 1 else PAIR_RADIUS_PX))
    margin = radius_px * 1.1 + EDGE_PX
    centre = []
    for fraction, side_px in zip(PLACES[place], size_px, strict=True):
        at = fraction * side_px + rng.uniform(-JITTER_PX, JITTER_PX)
        centre.append(min(max(at, margin), side_px - margin))
    return Thing(
        shape=rng.choice(SHAPES),
        colour=rng.choice([c for c in COLOUR_NAMES if c != background]),
        texture=rng.choice(TEXTURES) if count == 1 or rng.random() < 0.5 else "plain",
        place=place,
        size=size,
        x_px=centre[0],
        y_px=centre[1],
        radius_px=radius_px,
    )
