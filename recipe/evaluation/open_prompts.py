"""Measures prompts that leave most open: what they name is right, and the seed decides the rest."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

from recipe.evaluation.drawing import Picture, draw
from recipe.evaluation.reading import Reading, overlap, read_picture
from recipe.evaluation.share import share
from recipe.evaluation.sheet import save_sheet
from recipe.scale import Scale
from recipe.scenes.captions import PLACE_PHRASES, with_article
from recipe.scenes.scene import COLOUR_NAMES, PLACES, SHAPES, TEXTURES

SEEDS: Final = tuple(range(1, 9))
KINDS: Final = ("", *("colour",) * 3, *("background",) * 2, *("place",) * 2, "texture")
"""What the prompts of each shape name beside it: 54 prompts, 432 pictures."""
VALUES: Final[dict[str, tuple[str, ...]]] = {
    "colour": COLOUR_NAMES,
    "background": COLOUR_NAMES,
    "place": tuple(PLACES),
    "texture": TEXTURES[1:],
}
LEFT_OPEN: Final = ("background", "colour", "place")
SHOWN_PROMPTS: Final = 6


@dataclass(frozen=True, slots=True)
class OpenPrompt:
    """A shape and at most one attribute more (`also` is empty for the shape alone)."""

    shape: str
    also: str
    value: str

    @property
    def text(self) -> str:
        """The prompt, as people write it."""
        if self.also in ("colour", "texture"):
            return with_article(f"{self.value} {self.shape}")
        noun = with_article(self.shape)
        if self.also == "place":
            return f"{noun} {PLACE_PHRASES[self.value][0]}"
        if self.also == "background":
            return f"{noun} on {with_article(self.value)} background"
        return noun

    @property
    def named(self) -> dict[str, str]:
        """Attribute -> value that a picture must show; no texture named means plain."""
        named = {"shape": self.shape, "texture": "plain"}
        return named | ({self.also: self.value} if self.also else {})


def open_prompts(count: int) -> list[OpenPrompt]:
    """Return the first `count` open prompts, six shapes in turn; the list is always the same."""
    rng = random.Random("open prompts")
    values = {
        shape: {also: rng.sample(names, len(names)) for also, names in VALUES.items()}
        for shape in SHAPES
    }
    prompts = [
        OpenPrompt(shape, also, values[shape][also].pop() if also else "")
        for also in KINDS
        for shape in SHAPES
    ]
    return prompts[:count]


def measure_open_prompts(pipeline: Any, scale: Scale) -> dict[str, Any]:
    """Draw every open prompt with every seed; write a sheet and return the figures by kind."""
    prompts = open_prompts(scale.evaluated)
    captions = [prompt.text for prompt in prompts]
    by_seed = [draw(pipeline, captions, seed) for seed in SEEDS]
    _save_sheet(by_seed, captions, scale)
    readings = [[read_picture(pictures[i]) for pictures in by_seed] for i in range(len(prompts))]
    pairs = list(zip(prompts, readings, strict=True))
    kinds = {
        also: [pair for pair in pairs if pair[0].also == also] for also in dict.fromkeys(KINDS)
    }
    rows = {f"shape and {also}" if also else "shape alone": found for also, found in kinds.items()}
    return {name: open_figures(found) for name, found in {**rows, "all": pairs}.items() if found}


def open_figures(found: list[tuple[OpenPrompt, list[Reading]]]) -> dict[str, Any]:
    """Figures of prompts, each with the readings of its pictures.

    Returns:
        `pictures`; by attribute the share of `right` pictures among the `of` that name it, and
        `alike`, the share of pairs of seeds that agree where the prompt names nothing; the mean
        `pair_mask_iou` of two seeds.
    """
    right = {
        name: [
            reading.shown.get(name) == prompt.named[name]
            for prompt, readings in found
            if name in prompt.named
            for reading in readings
        ]
        for name in ("shape", "texture", *LEFT_OPEN)
    }
    alike = {
        name: [
            one.shown.get(name) == other.shown.get(name)
            for prompt, readings in found
            if name not in prompt.named
            for one, other in combinations(readings, 2)
        ]
        for name in LEFT_OPEN
    }
    ious = [overlap(a.mask, b.mask) for _, readings in found for a, b in combinations(readings, 2)]
    return {
        "pictures": sum(len(readings) for _, readings in found),
        "right": {name: _of(flags) for name, flags in right.items() if flags},
        "alike": {name: share(flags) for name, flags in alike.items() if flags},
        "pair_mask_iou": round(float(np.mean(ious)), 4),
    }


def _of(flags: Iterable[bool]) -> dict[str, float]:
    values = list(flags)
    return {"share": share(values), "of": len(values)}


def _save_sheet(by_seed: list[list[Picture]], captions: list[str], scale: Scale) -> None:
    shown = range(min(SHOWN_PROMPTS, len(captions)))
    save_sheet(
        [pictures[i] for i in shown for pictures in by_seed],
        [captions[i] for i in shown for _ in by_seed],
        scale.results_dir / "open.png",
        len(by_seed),
    )
