"""Makes the picture strips of steering.md with the demo model: `python -m docs.steering_strips`.

Everything runs in this process, with the requests that a service would run. Seeds are fixed; a
picture that others start from has the first seed that shows what the prompt names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.images.pixels import Rgb
from cascade_core.images.stored_upload import StoredUpload
from cascade_core.operations.template import fill
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.stage_c import StageC
from docs.strip import Cell, Row, save_strip
from recipe.evaluation.reading import read_picture
from recipe.evaluation.steering.originals import load_pipeline, request_of

FOLDER: Final = Path(__file__).parent / "pictures"
SIDE_PX: Final = 256
NEW_SEED: Final = 77
"""Of what is made from a picture."""
STRENGTHS: Final = {0.5: "0.5", 0.7: "0.7 (subtle)", 0.8: "0.8", 0.9: "0.9 (strong)", 1.0: "1"}


@dataclass(frozen=True, slots=True)
class Made:
    """A picture, or a composition without one, with its request and its stored latent."""

    request: GenerationRequest
    latent: Any
    pixels_hwc: Rgb


def main() -> None:
    """Make every strip."""
    pipeline = load_pipeline()
    for name, rows in STRIPS.items():
        path = FOLDER / f"{name}.webp"
        save_strip(rows(pipeline), path, SIDE_PX)
        print(f"{path.name}: {path.stat().st_size // 1000} kB", flush=True)


def generate(pipeline: CascadePipeline) -> list[Row]:
    """Draw one prompt with several seeds."""
    made = [run(pipeline, request_of("a red star", seed)) for seed in range(1, 7)]
    return [Row("a red star", [Cell(one.pixels_hwc, f"seed {one.request.seed}") for one in made])]


def vary(pipeline: CascadePipeline) -> list[Row]:
    """Vary the composition of one picture at several strengths, twice each."""
    first = first_right(pipeline, "a red star", shape="star", colour="red")
    return [
        started(
            f"a red star: varied, seed {seed}",
            first,
            [
                (word, draw_from(pipeline, first, kind="vary", strength=at, seed=seed))
                for at, word in STRENGTHS.items()
            ],
        )
        for seed in (NEW_SEED, NEW_SEED + 1)
    ]


def remix(pipeline: CascadePipeline) -> list[Row]:
    """Draw other prompts on one composition."""
    first = first_right(pipeline, "a red star", shape="star", colour="red")
    prompts = ("a blue star", "a red heart", "a striped red star", "a red star on yellow")
    made = [
        (text, draw_from(pipeline, first, kind="vary", strength=0.7, prompt=text, seed=NEW_SEED))
        for text in prompts
    ]
    return [started("a red star: other prompts at strength 0.7 (subtle)", first, made)]


def vary_details(pipeline: CascadePipeline) -> list[Row]:
    """Draw other details on one composition, and show them enlarged."""
    first = first_right(pipeline, "a large red star in the center", shape="star", place="center")
    seeds = range(first.request.seed + 1, first.request.seed + 5)
    made = [
        (f"decoder_seed {seed}", draw_from(pipeline, first, kind="vary_details", decoder_seed=seed))
        for seed in seeds
    ]
    row = started("a large red star in the center: its details varied", first, made)
    enlarged = [replace(cell, pixels_hwc=middle(cell.pixels_hwc)) for cell in row.cells]
    return [row, Row("the middle, enlarged", enlarged)]


def decode(pipeline: CascadePipeline) -> list[Row]:
    """Draw one composition with fewer and more steps, and larger."""
    first = first_right(pipeline, "a red star", shape="star", colour="red")
    made = [
        (f"{steps} steps", draw_from(pipeline, first, kind="decode", decoder_steps=steps))
        for steps in (2, 4, 20)
    ]
    made.append(("384x384", draw_from(pipeline, first, kind="decode", width=384, height=384)))
    row = started("a red star: drawn again", first, made)
    return [replace(row, cells=[replace(row.cells[0], label="10 steps, 256x256"), *row.cells[1:]])]


def drafts(pipeline: CascadePipeline) -> list[Row]:
    """Compose pictures, and finish two of them."""
    made = [run(pipeline, request_of("a circle", seed, stop_after="c")) for seed in range(1, 7)]
    draw = StageC.load_output_drawer(open_checkpoint(ModelSource()), "cpu")
    sheet = [Cell(draw(one.latent), f"draft {index}") for index, one in enumerate(made)]
    finished = [
        Cell(draw_from(pipeline, made[index], kind="decode", stop_after=None), f"picture {index}")
        for index in (1, 4)
    ]
    return [Row("a circle: drafts", sheet), Row("drafts 1 and 4, continued", finished)]


def image_to_image(pipeline: CascadePipeline) -> list[Row]:
    """Start from an upload at several strengths."""
    upload = sketch()
    rows = []
    for prompt in ("a blue triangle", "a red triangle"):
        request = request_of(prompt, NEW_SEED, kind="image_to_image", image="upload", strength=0.7)
        made = [
            (word, run(pipeline, replace(request, strength=at), StoredUpload.of(upload)).pixels_hwc)
            for at, word in ({0.3: "0.3"} | STRENGTHS).items()
            if at != 0.8
        ]
        rows.append(arrow_row(prompt, Cell(upload, "the upload"), made))
    return rows


def series(pipeline: CascadePipeline) -> list[Row]:
    """Make two series, each from the picture of its first value."""
    colours = ("red", "blue", "green", "pink", "black")
    backgrounds = ("white", "blue", "yellow", "green", "pink")
    return [
        series_of(pipeline, "a {colour} heart on a white background", "colour", colours),
        series_of(pipeline, "a red circle on a {background} background", "background", backgrounds),
    ]


def series_of(
    pipeline: CascadePipeline, template: str, variable: str, values: Sequence[str]
) -> Row:
    """Make the hero of the first value, and a series of the others."""
    first = {variable: values[0]}
    hero = first_right(pipeline, fill(template, first), **first)
    variants = [{variable: value} for value in values[1:]]
    request = replace(
        hero.request,
        kind="series",
        prompt=template,
        variants=variants,
        n=len(variants),
        latent_id="hero",
        strength=0.7,
        seed=NEW_SEED,
    )
    images = [request.for_image(index) for index in range(request.n)]
    made = [run(pipeline, image, hero.latent).pixels_hwc for image in images]
    cells = list(zip(values[1:], made, strict=True))
    return arrow_row(template, Cell(hero.pixels_hwc, f"{values[0]} (the hero)"), cells)


STRIPS: Final[dict[str, Callable[[CascadePipeline], list[Row]]]] = {
    "generate": generate,
    "vary": vary,
    "remix": remix,
    "vary_details": vary_details,
    "decode": decode,
    "drafts": drafts,
    "image_to_image": image_to_image,
    "series": series,
}


def run(pipeline: CascadePipeline, request: GenerationRequest, source: Any = None) -> Made:
    """Make a picture."""
    made = pipeline.run(request, source)
    return Made(request, made.latent, made.pixels_hwc)


def first_right(pipeline: CascadePipeline, prompt: str, **named: str) -> Made:
    """Make a picture that shows what its prompt names, by the metric of the recipe."""
    candidates = (run(pipeline, request_of(prompt, seed)) for seed in count(1))
    return next(
        made for made in candidates if named.items() <= read_picture(made.pixels_hwc).shown.items()
    )


def draw_from(pipeline: CascadePipeline, first: Made, **changes: Any) -> Rgb:
    """Make a picture from the latent of another one."""
    request = replace(first.request, latent_id="first", **changes)
    return run(pipeline, request, first.latent).pixels_hwc


def started(title: str, first: Made, made: list[tuple[str, Rgb]]) -> Row:
    """Return a row that leads from a picture to those that were made from it."""
    return arrow_row(title, Cell(first.pixels_hwc, f"seed {first.request.seed}"), made)


def arrow_row(title: str, first: Cell, made: list[tuple[str, Rgb]]) -> Row:
    """Return a row with an arrow after its first cell."""
    cells = [Cell(pixels_hwc, label) for label, pixels_hwc in made]
    return Row(title, [first, replace(cells[0], has_arrow=True), *cells[1:]])


def middle(pixels_hwc: Rgb) -> Rgb:
    """Return the middle of a picture, twice as large."""
    quarter = SIDE_PX // 4
    return pixels_hwc[quarter:-quarter, quarter:-quarter].repeat(2, 0).repeat(2, 1)


def sketch() -> Rgb:
    """Draw what people draw in a paint program: flat colours, crooked lines."""
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), "#fadc37")
    draw = ImageDraw.Draw(image)
    draw.polygon([(70, 90), (160, 215), (18, 196)], "#2c54d6")
    return np.asarray(image)


if __name__ == "__main__":
    main()
