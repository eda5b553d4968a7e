"""What the embedded flow model draws, and that it is as small as promised."""

from dataclasses import replace

import numpy as np
import pytest

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from recipe.evaluation.evaluate import held_out_scenes
from recipe.evaluation.metric import nearest_colour, score
from recipe.export import weights_bytes
from recipe.flow.flow_evaluation import Opponent, load_opponent
from recipe.scale import FLOW_DIR
from recipe.scenes.captions import exact_caption

SCENES = held_out_scenes("semantic test", 6)
MODEL = "demo-flow"


@pytest.fixture(scope="module")
def model() -> Opponent:
    return load_opponent(MODEL, MODEL)


def test_it_is_ours_and_takes_eight_megabytes_beside_the_demo_model() -> None:
    checkpoint = open_checkpoint(ModelSource(model=MODEL))
    assert checkpoint.id == MODEL
    assert checkpoint.licence == "Apache-2.0"
    assert sum(path.stat().st_size for path in FLOW_DIR.rglob("*") if path.is_file()) <= 8e6
    assert weights_bytes(FLOW_DIR) > 0


def test_prompts_never_trained_on_give_their_background_and_things_of_their_colours(
    model: Opponent,
) -> None:
    found = [
        score(model.draw(exact_caption(scene), number).pixels_hwc, scene)
        for number, scene in enumerate(SCENES)
    ]
    assert all(one.background for one in found)
    assert np.mean([thing.colour for one in found for thing in one.things]) >= 0.75


def test_previews_of_the_last_step_show_the_background(model: Opponent) -> None:
    stage = model.pipeline.stages[model.pipeline.family.stages[0].name]
    for number, scene in enumerate(SCENES[:2]):
        row = stage.admit(stage.make_task(None, model.request(exact_caption(scene), number)))
        while row.step < row.steps:
            stage.advance([row])
        preview = stage.preview(row)
        frame = np.concatenate([preview[:8].reshape(-1, 3), preview[-8:].reshape(-1, 3)])
        assert nearest_colour(np.median(frame, 0) / 255) == scene.background


def test_vary_keeps_more_of_a_picture_the_weaker_it_is(model: Opponent) -> None:
    request = model.request(exact_caption(SCENES[0]), 0)
    original = model.pipeline.run(request)
    differences = []
    for strength in (0.0, 0.3, 0.9):
        varied = replace(request, kind="vary", latent_id="x", strength=strength, seed=99)
        pixels = model.pipeline.run(varied, original.latent).pixels_hwc
        differences.append(np.abs(pixels.astype(int) - original.pixels_hwc).mean())
    assert differences[0] == 0
    assert differences == sorted(differences)
