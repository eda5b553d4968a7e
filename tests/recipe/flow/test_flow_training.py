"""The flow model's data, training and export, in a few steps."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import load_unet
from cascade_core.families.flow import FLOW
from recipe import scale as scales
from recipe.flow import flow_data
from recipe.flow.flow_data import load_flow_data, make_flow_data
from recipe.flow.flow_export import export_flow, flow_folder
from recipe.flow.flow_net import predict
from recipe.flow.flow_training import STEPS, checkpoint_of, load_flow, train_flow
from recipe.scale import SMOKE, Budget, Scale
from recipe.training.train import load_state

BUDGET = Budget(minutes=5, steps=2, batch=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scale]:
    """Yield a scale whose flow model is trained for two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scales, "WORK_DIR", tmp_path_factory.mktemp("work"))
        patch.setattr(flow_data, "CHUNK", 6)
        scale = replace(SMOKE, chunk=2, flow_scenes=12, evaluated=1, flow=BUDGET)
        make_flow_data(scale)
        train_flow(scale)
        export_flow(scale)
        yield scale


def test_the_training_set_is_square_and_held_out_scenes_are_not_in_it(scale: Scale) -> None:
    scenes, latents, masks = load_flow_data(scale)
    assert len(scenes) == len(latents) == len(masks) == 12
    assert {(scene.width_px, scene.height_px) for scene in scenes} == {(256, 256)}
    assert latents.shape[1:] == (4, 64, 64)
    assert 0.5 < float(latents.astype(np.float32).std()) < 1.5


def test_a_missing_chunk_ends_the_training_set_and_is_made_again_as_it_was(scale: Scale) -> None:
    whole = load_flow_data(scale)[1]
    (scale.work_dir / "flow" / "001.npz").unlink()
    assert [len(part) for part in load_flow_data(scale)] == [6, 6, 6]
    make_flow_data(scale)
    assert np.array_equal(load_flow_data(scale)[1], whole)


def test_training_goes_on_from_its_checkpoint_and_changes_the_net(scale: Scale) -> None:
    before = load_state(checkpoint_of(scale))
    train_flow(replace(scale, flow=replace(BUDGET, steps=3)))
    after = load_state(checkpoint_of(scale))
    assert (before["step"], after["step"]) == (2, 3)
    name = "net.embedding.1.weight"
    assert not torch.equal(before["module"][name], after["module"][name])
    export_flow(scale)


def test_the_exported_denoiser_answers_as_the_trained_one(scale: Scale) -> None:
    checkpoint = open_checkpoint(ModelSource(model=str(flow_folder(scale))))
    exported = load_unet(checkpoint, "denoiser", torch.device("cpu"), torch.float32)
    torch.manual_seed(0)
    given = (
        torch.randn(1, 4, 64, 64),
        torch.ones(1),
        torch.randn(1, 40, 128),
        torch.randn(1, 1, 128),
    )
    with torch.no_grad():
        ours, theirs = predict(exported, *given), predict(load_flow(scale).net, *given)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.01


def test_the_exported_folder_is_a_model_of_the_family_and_has_a_card(scale: Scale) -> None:
    folder = flow_folder(scale)
    checkpoint = open_checkpoint(ModelSource(model=str(folder)))
    defaults = checkpoint.defaults
    assert checkpoint.family == FLOW.name
    assert (defaults.steps, defaults.width, defaults.max_side) == (STEPS, 256, 256)
    assert checkpoint.licence == "Apache-2.0"
    assert set(checkpoint.max_rows["cpu"]) == set(FLOW.names)
    assert "with 4 pictures each" in (folder / "README.md").read_text()
