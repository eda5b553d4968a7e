"""Measures series: what the template names stays, what a variant asks for is drawn."""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np

from cascade_core.operations.template import fill
from cascade_core.pipeline import CascadePipeline
from recipe.evaluation.reading import Reading, overlap, read_picture
from recipe.evaluation.steering.comparison import of
from recipe.evaluation.steering.originals import NEW_SEED, SEEDS, request_of
from recipe.scenes.captions import PLACE_PHRASES
from recipe.scenes.scene import COLOUR_NAMES, PLACES, SHAPES

STRENGTHS: Final = (0.7, 0.8)
VARIANTS: Final = 4
HERO_SEEDS: Final = 8


@dataclass(frozen=True, slots=True)
class Template:
    """A template of one shape: its text, its variable with the values, and its constants."""

    text: str
    variable: str
    values: tuple[str, ...]
    constants: dict[str, str]

    @property
    def prompts(self) -> list[str]:
        """The prompt of each variant."""
        return [fill(self.text, {self.variable: value}) for value in self.values]


def templates(count: int) -> list[Template]:
    """Return the first `count` of 24 templates, four of each shape; the list is always the same."""
    return [template for kind in zip(*map(_templates, SHAPES), strict=True) for template in kind][
        :count
    ]


def _templates(shape: str) -> list[Template]:
    """Return templates of a shape: alone, on a background, at a place, and of one colour."""
    number = SHAPES.index(shape)
    constant, *colours = [*COLOUR_NAMES[number:], *COLOUR_NAMES[:number]]
    values, place = tuple(colours[:VARIANTS]), tuple(PLACES)[number]
    thing = f"a {{colour}} {shape}"
    other = f"a {constant} {shape} on a {{background}} background"
    kinds: list[tuple[str, str, dict[str, str]]] = [
        (thing, "colour", {}),
        (f"{thing} on a {constant} background", "colour", {"background": constant}),
        (f"{thing} {PLACE_PHRASES[place][0]}", "colour", {"place": place}),
        (other, "background", {"colour": constant}),
    ]
    return [Template(text, name, values, {"shape": shape} | named) for text, name, named in kinds]


def measure_series(pipeline: CascadePipeline, count: int) -> dict[str, Any]:
    """Return figures of the series of `count` templates, each from a hero of every seed."""
    chosen = [
        (template, 1000 * seed + number)
        for seed in SEEDS
        for number, template in enumerate(templates(count))
    ]
    heroes = [_hero(pipeline, template, seed) for template, seed in chosen]
    rows: dict[str, Any] = {}
    for at in STRENGTHS:
        made = [
            _vary(pipeline, template, seed, hero, at)
            for (template, seed), hero in zip(chosen, heroes, strict=True)
        ]
        rows |= _rows(f"from the hero at {at}", [template for template, _ in chosen], made)
    made = [_one_seed(pipeline, template, seed) for template, seed in chosen]
    return rows | _rows("one seed, no hero", [template for template, _ in chosen], made)


def _rows(name: str, chosen: list[Template], made: list[list[Reading]]) -> dict[str, Any]:
    """Return figures of all series, and of those with the templates that leave most open."""
    open_ones = [n for n, template in enumerate(chosen) if len(template.constants) == 1]
    return {
        name: series_figures(chosen, made),
        f"{name}; the shape alone is constant": series_figures(
            [chosen[n] for n in open_ones], [made[n] for n in open_ones]
        ),
    }


def _hero(pipeline: CascadePipeline, template: Template, seed: int) -> Any:
    """Return the latent of the first prompt's first right picture, as a person chooses a hero.

    Of a model that draws none within `HERO_SEEDS` seeds, it is the last picture's.
    """
    wanted = template.constants | {template.variable: template.values[0]}
    for number in range(HERO_SEEDS):
        made = pipeline.run(request_of(template.prompts[0], seed + 100 * number))
        if wanted.items() <= read_picture(made.pixels_hwc).shown.items():
            break
    return made.latent


def _vary(
    pipeline: CascadePipeline, template: Template, seed: int, hero: Any, strength: float
) -> list[Reading]:
    """Make a series; its images are variations of the hero that share their seeds."""
    series = request_of(
        template.text,
        seed + NEW_SEED,
        kind="series",
        latent_id="hero",
        strength=strength,
        variants=[{template.variable: value} for value in template.values],
        n=len(template.values),
    )
    images = [series.for_image(index) for index in range(series.n)]
    return [read_picture(pipeline.run(image, hero).pixels_hwc) for image in images]


def _one_seed(pipeline: CascadePipeline, template: Template, seed: int) -> list[Reading]:
    request = request_of("", seed + NEW_SEED)
    requests = [replace(request, prompt=prompt) for prompt in template.prompts]
    return [read_picture(pipeline.run(request).pixels_hwc) for request in requests]


def series_figures(chosen: list[Template], made: list[list[Reading]]) -> dict[str, Any]:
    """Compare the pictures of each series with its template and with each other.

    Returns:
        Shares with their number of flags: `variable` right, `constants` right, and of pairs the
        `same_place`; the mean `pair_mask_iou`.
    """
    rows = list(zip(chosen, made, strict=True))
    pairs = [pair for _, readings in rows for pair in combinations(readings, 2)]
    return {
        "pictures": sum(len(readings) for readings in made),
        "variable": of(
            reading.shown.get(template.variable) == value
            for template, readings in rows
            for reading, value in zip(readings, template.values, strict=True)
        ),
        "constants": of(
            reading.shown.get(name) == value
            for template, readings in rows
            for reading in readings
            for name, value in template.constants.items()
        ),
        "pair_mask_iou": round(float(np.mean([overlap(a.mask, b.mask) for a, b in pairs])), 4),
        "same_place": of(a.shown.get("place") == b.shown.get("place") for a, b in pairs),
    }
