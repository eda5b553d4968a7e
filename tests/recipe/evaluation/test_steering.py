"""What operations on a latent keep and change is measured against the picture they start from."""

import numpy as np
import pytest

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from recipe.evaluation.open_prompts import OpenPrompt
from recipe.evaluation.reading import Reading
from recipe.evaluation.steering import (
    Original,
    decode_larger,
    draw_original,
    figures,
    remix,
    table,
    vary,
)

PROMPT = OpenPrompt("star", "colour", "red")
SHOWN = {"background": "white", "colour": "red", "place": "left", "shape": "star"}
REQUEST = GenerationRequest(prompt=PROMPT.text, width=256, height=256, seed=1, decoder_seed=1)


def reading(side: int = 64, **changes: str) -> Reading:
    """Read a red star on the left of a white picture, with changes."""
    return Reading(SHOWN | changes, np.ones((side, side), bool))


def compare(made: Reading) -> dict[str, object]:
    """Compare one picture with the red star, for the prompt that asked for it."""
    return figures([Original(PROMPT, REQUEST, None, reading())], [made], [PROMPT.named])


def test_what_the_prompt_names_can_be_right_and_what_it_leaves_open_can_be_kept() -> None:
    same = compare(reading())
    assert same["mask_iou"] == 1
    assert same["place"] == {"share": 1, "of": 1}
    assert same["kept"] == same["right"] == {"share": 1, "of": 2}
    assert compare(reading(place="right"))["place"] == {"share": 0, "of": 1}
    assert compare(reading(background="blue"))["kept"] == {"share": 0.5, "of": 2}
    assert compare(reading(colour="blue"))["right"] == {"share": 0.5, "of": 2}


def test_masks_of_other_sizes_are_not_compared() -> None:
    assert compare(reading(side=96))["mask_iou"] is None
    row = table({"decode at 1.5x": compare(reading(side=96))}).splitlines()[-1]
    assert row.startswith("| decode at 1.5x | 1 |  | 100.0% (21-100)")


@pytest.fixture(scope="module")
def pipeline() -> CascadePipeline:
    return CascadePipeline.load(open_checkpoint(ModelSource()), Placement("cpu"), STABLE_CASCADE)


def test_the_operations_run_and_a_strength_of_zero_changes_nothing(
    pipeline: CascadePipeline,
) -> None:
    original = draw_original(pipeline, PROMPT, 1)
    unchanged = vary(pipeline, [original], 0.0)
    assert unchanged["mask_iou"] == unchanged["kept"]["share"] == 1
    assert remix(pipeline, [original])["pictures"] == 1
    assert decode_larger(pipeline, [original])["kept"]["of"] == 2
