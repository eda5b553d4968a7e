"""The joint training teaches the compressor what Stage B needs."""

import numpy as np
import pytest
import torch

from recipe import scale as scales
from recipe.scale import SMOKE
from recipe.scenes.data import GroupPicker, load_groups, make_data
from recipe.training.compressor import KEPT_BACK, MeaningTeacher
from recipe.training.joint import Joint
from recipe.training.stage_b import Example


@pytest.fixture
def _data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scales, "WORK_DIR", tmp_path_factory.mktemp("work"))
    make_data(SMOKE)


@pytest.mark.usefixtures("_data")
def test_stage_b_error_reaches_the_compressor_on_every_canvas() -> None:
    groups = load_groups(SMOKE)
    assert [(g.scenes[0].width_px, g.scenes[0].height_px) for g in groups] == [
        (256, 256),
        (384, 256),
        (256, 384),
    ]
    joint, teacher = Joint(), MeaningTeacher(groups)
    joint.pair.compressor.scale.eval()
    for group, (height, width) in enumerate(((64, 64), (64, 96), (96, 64))):
        latents = teacher.latents(joint.pair.compressor, group, np.arange(2))
        example = Example(torch.empty(0), latents, torch.empty(0), torch.empty(0), [])
        noise, _ = joint.taught(
            torch.randn(2, 4, height, width), torch.full((2,), 0.5), example, torch.randn(2, 1, 128)
        )
        joint.zero_grad()
        noise.square().mean().backward()
        assert joint.pair.compressor.net[0].weight.grad.abs().max() > 0


@pytest.mark.usefixtures("_data")
def test_batches_come_from_every_canvas_and_never_from_scenes_kept_for_validation() -> None:
    groups = load_groups(SMOKE)
    picker = GroupPicker([len(group.scenes) for group in groups], KEPT_BACK, seed=0)
    picked = [picker(4) for _ in range(100)]
    assert {group for group, _ in picked} == {0, 1, 2}
    assert all(rows.min() >= picker.kept_back[group] > 0 for group, rows in picked)


@pytest.mark.usefixtures("_data")
def test_thumbnails_show_other_details_than_the_pictures() -> None:
    """So the latent cannot hold them, and they stay with Stage B."""
    group = load_groups(SMOKE)[0]
    is_free = group.array("masks")[:, :, :8].max((1, 2, 3)) == 0
    pictures = group.array("pictures")[is_free].mean(-1)
    thumbnails = group.array("thumbnails")[is_free].mean(-1)
    shrunk = pictures.reshape(-1, 32, 8, 32, 8).mean((2, 4))[:, :4]
    other = thumbnails.reshape(-1, 32, 3, 32, 3).mean((2, 4))[:, :4]
    found = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(shrunk, other, strict=True)]
    assert len(found) > 10
    assert abs(np.mean(found)) < 0.2
