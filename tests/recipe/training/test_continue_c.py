"""Training the shipped Stage C on changes its weights and no other file of the model."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from recipe import scale as scales
from recipe.export import model_folder
from recipe.scale import SMOKE, Budget, Scale
from recipe.training.continue_c import by_canvas, continue_stage_c, shipped_examples

WEIGHTS = Path("prior_prior/diffusion_pytorch_model.safetensors")


@pytest.fixture
def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scale:
    """Return a scale whose model folder is a copy of the shipped one."""
    monkeypatch.setattr(scales, "WORK_DIR", tmp_path)
    budget = Budget(minutes=5, steps=2, batch=4, learning_rate=1e-3)
    scale = replace(SMOKE, chunk=2, continue_c_scenes=20, continue_c=budget)
    shutil.copytree(DEMO_MODEL_DIR, model_folder(scale))
    return scale


def files_of(scale: Scale) -> dict[Path, bytes]:
    """Return the content of every file of the model folder."""
    folder = model_folder(scale)
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_only_the_weights_of_stage_c_change(scale: Scale) -> None:
    before = files_of(scale)
    continue_stage_c(scale)
    after = files_of(scale)
    assert {
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    } == {WEIGHTS}
    old, new = (load_file(folder / WEIGHTS) for folder in (DEMO_MODEL_DIR, model_folder(scale)))
    assert {name: (t.shape, t.dtype) for name, t in old.items()} == {
        name: (t.shape, t.dtype) for name, t in new.items()
    }
    continue_stage_c(scale)
    assert files_of(scale) == after, "a finished run is not trained on"


def test_examples_are_the_training_scenes_of_every_canvas_as_the_shipped_encoder_sees_them(
    scale: Scale,
) -> None:
    canvases = by_canvas(scale)
    assert list(canvases) == [(256, 256), (384, 256), (256, 384)]
    first = shipped_examples(scale, DEMO_MODEL_DIR)
    assert [tuple(e.latents.shape) for e in first] == [(16, 16, 6, 6), (2, 16, 6, 9), (2, 16, 9, 6)]
    assert [e.scenes for e in first] == list(canvases.values())
    again = shipped_examples(scale, DEMO_MODEL_DIR)
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(first, again, strict=True))
