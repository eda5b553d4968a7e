"""The model card, written from the vocabulary, the training runs and the evaluation."""

import json
from pathlib import Path
from typing import Any

from recipe.evaluation.evaluation_table import table
from recipe.evaluation.steering.tables import tables
from recipe.scale import Scale
from recipe.scenes.scene import COLOUR_NAMES, PAIRS, PLACES, SHAPES, SIZES, TEXTURES
from recipe.training.train import load_state

RUNS = (
    "text_encoder",
    "stage_a",
    "compressor",
    "joint",
    "stage_b",
    "stage_c",
    "stage_c_continued",
)

_HEAD = """---
license: apache-2.0
library_name: diffusers
tags: [stable-cascade, text-to-image]
---
# Cascade demo

A complete Stable Cascade in miniature: the same three stages, classes and file layout as the
published model, small enough to be part of this repository and quick enough for two CPU cores.
It was trained from nothing on pictures that our own renderer drew. It exists so that the service
can be tried, tested and developed without a GPU and without a download; it is not a general
text-to-image model.
"""

_LIMITS = """## What it does not do

- Anything outside the vocabulary above. Other words are mostly ignored; a prompt of nothing but
  other words gives a coloured surface or a blob.
- More than two things, other relations between things, lettering, photographs.
- Other canvases than 256x256, 384x256 and 256x384 pixels, the three it was trained on.
- `decoder_guidance_scale` above 1 brings nothing.
- Prompts of few words ("a star") reliably: about every fifth picture has a wrong shape by the
  metric, mostly because two things were drawn, or one in the colour of its background.
- Everything right every time: see the failures below and the figures. Patterns are the weakest
  part, above all on small things and rings.
"""

_LICENCE = """## Licence

Apache-2.0. The weights are ours, trained on our own pictures; no other model or data went in.
"""


def model_card(scale: Scale) -> str:
    """Return the card as markdown."""
    parts = (
        _HEAD,
        _vocabulary(),
        _LIMITS,
        _training(scale),
        _figures(scale),
        _steering(scale),
        _LICENCE,
    )
    return "\n".join(part for part in parts if part)


def _vocabulary() -> str:
    pairs = " or ".join(f"{a}/{b}" for a, b in PAIRS)
    return f"""## What it draws

One or two things on a plain, grainy background, on a square, wide or tall canvas.

- shapes: {", ".join(SHAPES)}
- colours of things and background: {", ".join(COLOUR_NAMES)}
- textures: {", ".join(TEXTURES)} (plain where none is named)
- sizes: {", ".join(SIZES)} (one thing only)
- places of one thing: {", ".join(PLACES)}; of two things: {pairs}

Common synonyms work too (disc, box, donut; turquoise, violet, crimson, golden; spotted, checked;
big, tiny; above, below, left of). Example: *a large striped red heart in the center on a white
background*. Good settings: 20 prior steps with guidance 2, 10 decoder steps without guidance.

`latent_encoder/` holds the way back: `cascade_core.conditioning.latent_encoder` makes the Stage C
latent of a picture with it.
"""


_TRAINING = """## How it was trained

By [`recipe/`](../../recipe) (`python -m recipe all` runs every step and goes on where it was cut
off), on {scenes:,} rendered scenes; the combinations of shape, colour and background that the
evaluation uses were left out. It ran on two cores of an x86-64 server that did other work as well,
without a GPU: the minutes are wall time, not a measure of speed. Stage B and Stage C went on from
weights trained for 60 and 52 minutes on an earlier world (square canvases only, patterns of any
phase); Stage C's row includes that time, the rows of Stage B do not. A run from nothing gives the
joint training that hour on top.

| part | steps | minutes |
|---|---|---|
"""


def _training(scale: Scale) -> str:
    lines = [_TRAINING.format(scenes=scale.scenes).rstrip()]
    kept = _runs_file(scale)
    runs: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for run, spent in runs.items():
        lines.append(f"| {run.replace('_', ' ')} | {spent['steps']:,} | {spent['minutes']} |")
    return "\n".join(lines) + "\n"


def keep_training_runs(scale: Scale) -> None:
    """Write steps and minutes of every run beside the results, where the card reads them.

    Runs without a checkpoint here, because they ran elsewhere, keep what was written before.
    """
    kept = _runs_file(scale)
    runs: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for run in RUNS:
        path = scale.work_dir / f"{run}.pt"
        if path.exists():
            state = load_state(path)
            runs[run] = {"steps": state["step"], "minutes": round(state["spent_s"] / 60)}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(runs, indent=2) + "\n")


def _runs_file(scale: Scale) -> Path:
    return scale.results_dir / "training.json"


def _figures(scale: Scale) -> str:
    path = scale.results_dir / "evaluation.json"
    if not path.exists():
        return "## Figures\n\nNot measured yet.\n"
    figures: dict[str, Any] = json.loads(path.read_text())
    return f"""## Figures

Held-out combinations, stock pipelines, 20 + 10 steps, guidance 2; the last link is the whole
cascade with three seeds per prompt, the links above it show where a figure is lost. In brackets:
intervals of 95%. Open prompts ("a star", "a red heart") name a shape and at most one attribute
more; each has eight seeds, and what it does not name should differ from seed to seed.
`python -m recipe evaluate` measures them.

{table(figures)}
The first thirty held-out prompts, not chosen:

![Thirty held-out prompts and their pictures](../../recipe/results/held_out.png)

The first pictures with something wrong by the metric:

![Pictures with something wrong](../../recipe/results/failures.png)

Open prompts, eight seeds each:

![Six open prompts and eight pictures of each](../../recipe/results/open.png)

Other canvases, and *Vary details* (the first row is varied twice):

![Wide pictures](../../recipe/results/384x256.png)
![Tall pictures](../../recipe/results/256x384.png)
![Four pictures and two variants of each](../../recipe/results/varied.png)
"""


def _steering(scale: Scale) -> str:
    path = scale.results_dir / "steering.json"
    if not path.exists():
        return ""
    return f"""## What operations keep and change

24 prompts, uploads and templates that leave most open, two seeds each; what is made has the seed of
details of what it is made from. *Mask IoU* is of the things' outlines. *Left open and kept* is of
background, colour, place and shape, where the new prompt does not name them; *asked for and right*
of those that it names. *Detail* is the energy of fine detail a pixel, over that before; pictures at
1.5x are read shrunk. Uploads are true renders of held-out scenes; *another colour* names shape and
colour. A series has four pictures. `python -m recipe.evaluation.steering` measures all of it.

{tables(json.loads(path.read_text()))}"""
