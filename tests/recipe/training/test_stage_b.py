"""Stage B's training examples line up, and its training-only head changes nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from recipe import scale as scales
from recipe.scale import SMOKE
from recipe.scenes import data
from recipe.scenes.data import make_chunk, training_scene
from recipe.training.diffusion import CaptionReader
from recipe.training.stage_b import CROP, Example, ExampleSampler, TaughtStageB, disturb

SCALE = replace(SMOKE, scenes=24, chunk=8)
ROWS = np.arange(8)


@pytest.fixture(params=[8, 0], ids=["wide", "square"])
def whole(request: pytest.FixtureRequest, sampler: ExampleSampler) -> Example:
    """All examples of one canvas."""
    return sampler.pick(0 if request.param == 0 else 1, ROWS)


@pytest.fixture
def sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExampleSampler:
    """A sampler over square and wide scenes whose latents count up, to recognise windows."""
    monkeypatch.setattr(scales, "WORK_DIR", tmp_path)
    monkeypatch.setattr(data, "CANVASES_PX", ((256, 256), (384, 256)))
    folder = SCALE.work_dir / "data"
    folder.mkdir(parents=True)
    for chunk, width in enumerate((64, 96, 64)):
        make_chunk(SCALE, chunk)
        places = np.arange(64 * width, dtype=np.float32).reshape(64, width)
        np.save(folder / f"latents-{chunk:03d}.npy", np.broadcast_to(places, (8, 4, 64, width)))
    torch.manual_seed(0)
    return ExampleSampler(SCALE, [torch.randn(16, 16, 6, 6), torch.randn(8, 16, 6, 9)])


def test_windows_show_a_thing_and_cut_all_maps_alike(
    sampler: ExampleSampler, whole: Example
) -> None:
    width = whole.clean.shape[3]
    tokens = functional.interpolate(
        whole.condition, (16, width // 4), mode="bilinear", align_corners=True
    )
    for _ in range(5):
        cut = sampler.crop_to_things(whole)
        assert cut.clean.shape == (8, 4, CROP, CROP)
        for row in range(8):
            y, x = divmod(int(cut.clean[row, 0, 0, 0]), width)
            assert torch.equal(cut.flat[row], whole.flat[row, :, y : y + CROP, x : x + CROP])
            there = tokens[row, :, y // 4 : y // 4 + 8, x // 4 : x // 4 + 8]
            assert torch.equal(cut.condition[row], there)
            there = whole.texture[row, y : y + CROP, x : x + CROP]
            assert torch.equal(cut.texture[row], there)
            assert cut.flat[row, 3].mean() > 0.08
            assert y % 8 == x % 8 == 0


def test_things_weigh_more_than_background(whole: Example) -> None:
    inside = whole.flat[:, 3:]
    assert (whole.weight[inside == 1] > whole.weight.min()).all()


def test_disturbing_leaves_targets_alone_and_changes_the_condition(
    whole: Example,
) -> None:
    torch.manual_seed(0)
    example = whole
    disturbed = disturb(example)
    assert torch.equal(disturbed.clean, example.clean)
    assert not torch.equal(disturbed.condition, example.condition)


def test_the_head_leaves_the_predicted_noise_alone_and_teaches_the_net() -> None:
    torch.manual_seed(0)
    taught = TaughtStageB()
    noisy, pooled, condition = (
        torch.randn(1, 4, 64, 64),
        torch.randn(1, 1, 128),
        torch.randn(1, 16, 6, 6),
    )
    example = Example(noisy, condition, torch.zeros(1, 4, 64, 64), torch.zeros(1, 64, 64), [])
    noise, painted = taught(noisy, torch.ones(1), example, pooled)
    alone = taught.net(noisy, torch.ones(1), clip_text_pooled=pooled, effnet=condition).sample
    assert torch.equal(noise, alone)
    assert painted.shape == (1, 8, 64, 64)
    painted.square().mean().backward()
    assert taught.net.effnet_mapper[0].weight.grad.abs().max() > 0


def test_dropped_captions_are_empty_and_others_are_not() -> None:
    reader = CaptionReader(None, None, "captions")
    captions = reader.describe([training_scene(SCALE, i) for i in range(400)], 0.25)
    assert 60 < captions.count("") < 140
    assert all(reader.describe([training_scene(SCALE, 0)], 0.0))
