"""Stage B's training examples line up, and its training-only head changes nothing else."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from recipe import scale as scales
from recipe.data import make_chunk, training_scene
from recipe.diffusion import CaptionReader
from recipe.scale import SMOKE
from recipe.stage_b import CROP, Example, ExampleSampler, TaughtStageB, disturb


@pytest.fixture
def sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExampleSampler:
    """A sampler over eight scenes whose latents count up, so that windows can be recognised."""
    monkeypatch.setattr(scales, "WORK_DIR", tmp_path)
    data = SMOKE.work_dir / "data"
    data.mkdir(parents=True)
    make_chunk(data, 8, 0)
    places = np.arange(64 * 64, dtype=np.float16).reshape(64, 64)
    np.save(data / "latents-000.npy", np.broadcast_to(places, (8, 4, 64, 64)))
    np.save(SMOKE.work_dir / "compressed.npy", np.random.default_rng(0).random((8, 16, 6, 6)))
    return ExampleSampler(SMOKE)


def test_windows_show_a_thing_and_cut_all_maps_alike(sampler: ExampleSampler) -> None:
    whole = sampler.pick(np.arange(8))
    tokens = functional.interpolate(whole.condition, (16, 16), mode="bilinear", align_corners=True)
    for _ in range(5):
        cut = sampler.crop_to_things(whole)
        assert cut.clean.shape == (8, 4, CROP, CROP)
        for row in range(8):
            first = int(cut.clean[row, 0, 0, 0])
            y, x = first // 64, first % 64
            assert torch.equal(cut.flat[row], whole.flat[row, :, y : y + CROP, x : x + CROP])
            there = tokens[row, :, y // 4 : y // 4 + 8, x // 4 : x // 4 + 8]
            assert torch.equal(cut.condition[row], there)
            assert cut.flat[row, 3].mean() > 0.15


def test_things_weigh_more_than_background(sampler: ExampleSampler) -> None:
    example = sampler.pick(np.arange(8))
    inside = example.flat[:, 3:]
    assert (example.weight[inside == 1] > example.weight.min()).all()


def test_disturbing_leaves_targets_alone_and_changes_the_condition(
    sampler: ExampleSampler,
) -> None:
    torch.manual_seed(0)
    example = sampler.pick(np.arange(8))
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
    example = Example(noisy, condition, torch.zeros(1, 4, 64, 64), [])
    noise, painted = taught(noisy, torch.ones(1), example, pooled)
    alone = taught.net(noisy, torch.ones(1), clip_text_pooled=pooled, effnet=condition).sample
    assert torch.equal(noise, alone)
    assert painted.shape == (1, 4, 64, 64)
    painted.square().mean().backward()
    assert taught.net.effnet_mapper[0].weight.grad.abs().max() > 0


def test_dropped_captions_are_empty_and_others_are_not() -> None:

    reader = CaptionReader.__new__(CaptionReader)
    reader.rng = random.Random(0)
    captions = reader.describe([training_scene(i) for i in range(400)], 0.25)
    assert 60 < captions.count("") < 140
    assert all(reader.describe([training_scene(0)], 0.0))
