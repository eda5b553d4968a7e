"""The flow model's card, written from its training run and the evaluation."""

import json
from pathlib import Path
from typing import Any

from recipe.flow.flow_table import flow_table
from recipe.scale import Scale
from recipe.training.train import load_state

_HEAD = """---
license: apache-2.0
library_name: diffusers
tags: [flow-matching, text-to-image]
---
# Flow demo

A second demo model of another kind than the [cascade](../demo_model/README.md): one net draws the
latent of Stage A straight from the prompt, in 8 steps of Euler's method. It exists so that two
families of models can be served and compared on a fresh machine; it is not a general text-to-image
model.

It shares the text encoder, the tokenizer and Stage A of the cascade, so its folder holds the net
alone: `cascade.json` says with `components_of` where the other parts are. The net is a
`StableCascadeUNet` with the layout that diffusers gives it; it predicts noise - picture.

## What it draws

The cascade's world ([its card](../demo_model/README.md#what-it-draws) lists shapes, colours,
textures, sizes and places) on square canvases. Example: *a large red heart in the center on a white
background*. Good settings: 8 steps with guidance 3; more steps bring little.

"""
_LIMITS = """## What it does not do

- Other canvases than 256x256 pixels.
- *Vary details*: its one net draws composition and details together. `vary` draws a picture anew
  from a latent that got noise.
- Anything outside the vocabulary. Other words are mostly ignored.
- Shapes as surely as the cascade: of one thing every third is wrong by the metric, and outlines are
  often frayed.
- Two things: they are in their places, but colours and shapes pass from one to the other or get
  lost, in four of ten colours and seven of ten shapes.
- `vary` as gently as the cascade: strengths above 0.5 move things and change their shape.

"""
_LICENCE = """## Licence

Apache-2.0. The weights are ours, trained on our own pictures; no other model or data went in.
"""


def flow_card(scale: Scale) -> str:
    """Return the card as markdown."""
    return _HEAD + _LIMITS + _training(scale) + _figures(scale) + _LICENCE


def keep_flow_run(scale: Scale) -> None:
    """Write steps and minutes of the training beside the results, where the card reads them."""
    checkpoint = scale.work_dir / "flow.pt"
    if not checkpoint.exists():
        return
    state = load_state(checkpoint)
    run = {"steps": state["step"], "minutes": round(state["spent_s"] / 60)}
    kept = _run_file(scale)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(run, indent=2) + "\n")


def _training(scale: Scale) -> str:
    kept = _run_file(scale)
    run: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    steps, minutes = run.get("steps", 0), run.get("minutes", 0)
    return f"""## How it was trained

By [`recipe/`](../../recipe/README.md#the-flow-model), on {scale.flow_scenes:,} square scenes; the
combinations of shape, colour and background that the evaluation uses were left out. It started from
the weights of the cascade's Stage B, which works in the same latent space but is given the
composition. {steps:,} steps of two processes with {scale.flow.batch} pictures each took {minutes}
minutes on two cores of an x86-64 server that did much other work as well: wall time, not a measure
of speed. It was still improving when the time was up.

"""


def _figures(scale: Scale) -> str:
    path = scale.results_dir / "flow.json"
    if not path.exists():
        return "## Figures\n\nNot measured yet.\n\n"
    return f"""## Figures

Both demo models, measured in one run by the service's own pipelines: held-out combinations with
three seeds per prompt, in brackets the lowest and highest of the seeds; open prompts ("a star")
with four seeds each, where what a prompt does not name should differ from seed to seed; `vary` of
open prompts with a new seed. Seconds are medians, fastest and slowest in brackets; the models took
turns on a machine that did other work as well. `python -m recipe flow-evaluate` measures them.

{flow_table(json.loads(path.read_text()))}
The first thirty held-out prompts, not chosen:

![Thirty held-out prompts and their pictures](../../recipe/results/flow_held_out.png)

The prompts that the service suggests:

![Ten suggestions and their pictures](../../recipe/results/flow_suggestions.png)

"""


def _run_file(scale: Scale) -> Path:
    return scale.results_dir / "flow_training.json"
