"""Stability's encoder of pictures: the names in its file, its layers, what goes into them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.layout import EFFNET_FILE
from cascade_core.checkpoints.weights import load_picture_encoder
from cascade_core.errors import ModelUnavailable
from cascade_core.models.effnet import EffnetEncoder

CPU = torch.device("cpu")
BLOCKS = {1: 2, 2: 4, 3: 4, 4: 6, 5: 9, 6: 15}
TORCHVISION_WEIGHTS = 20_177_488
"""Parameters of ``torchvision.models.efficientnet_v2_s().features``."""


def norm(name: str) -> list[str]:
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{name}.{kind}" for kind in kinds]


def published_names() -> set[str]:
    """The names in ``effnet_encoder.safetensors``, written down without our module."""
    names = ["0.0.weight", *norm("0.1"), "7.0.weight", *norm("7.1")]
    for stage, count in BLOCKS.items():
        for number in range(count):
            block = f"{stage}.{number}.block"
            convolutions = {1: (0,), 2: (0, 1), 3: (0, 1)}.get(stage, (0, 1, 3))
            for layer in convolutions:
                names += [f"{block}.{layer}.0.weight", *norm(f"{block}.{layer}.1")]
            if stage > 3:
                layers = ("fc1", "fc2")
                names += [f"{block}.2.{fc}.{kind}" for fc in layers for kind in ("weight", "bias")]
    mapper = ["0.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked"]
    return {f"backbone.{name}" for name in names} | {f"mapper.{name}" for name in mapper}


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, place in EffnetEncoder().places().items():
        if name.endswith("running_var"):
            weights[name] = torch.rand(place.shape, generator=generator) + 0.5
        elif place.is_floating_point():
            fan_in = place[0].numel() if place.dim() == 4 else 10
            weights[name] = torch.randn(place.shape, generator=generator) * fan_in**-0.5
        else:
            weights[name] = torch.tensor(1000)
    return weights


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights()


def with_file(folder: Path, weights: dict[str, Tensor]) -> Checkpoint:
    path = folder / EFFNET_FILE
    save_file(weights, path)
    return replace(open_checkpoint(ModelSource()), picture_encoder=path)


def test_the_weights_have_the_names_of_the_published_file() -> None:
    assert EffnetEncoder().places().keys() == published_names()


def test_the_backbone_has_as_many_weights_as_torchvisions() -> None:
    backbone = EffnetEncoder().backbone
    assert sum(weight.numel() for weight in backbone.parameters()) == TORCHVISION_WEIGHTS


def test_the_norms_of_the_backbone_have_another_epsilon_than_that_of_the_map() -> None:
    found = {
        name: module.eps
        for name, module in EffnetEncoder().named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert found.pop("mapper.1") == 1e-5
    assert set(found.values()) == {1e-3}


def test_a_file_fills_every_weight_and_norms_use_what_they_learnt(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    network = load_picture_encoder(with_file(tmp_path, weights), CPU)

    assert isinstance(network, EffnetEncoder)
    assert not network.training
    for name, place in network.places().items():
        assert torch.equal(place, weights[name]), name
    with torch.inference_mode():
        pictures = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
        both, one = network(pictures), network(pictures[:1])
    assert both.shape == (2, 16, 2, 3)
    assert both.dtype == torch.float32
    # In training mode the norms would mix the pictures of a batch.
    assert float((both[:1] - one).abs().max()) < 1e-4 * float(one.abs().max())


def test_colours_are_normalised_as_imagenet_is(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    network = load_picture_encoder(with_file(tmp_path, weights), CPU)
    assert isinstance(network, EffnetEncoder)
    seen: list[Tensor] = []
    network.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))

    with torch.inference_mode():
        network(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))

    colour = seen[0][0, :, 5, 7].tolist()
    assert colour == pytest.approx([-2.1179, 0.1964, 2.6400], abs=1e-4)


def lacking(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight for name, weight in weights.items() if name != "backbone.7.0.weight"}


def with_classifier(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"classifier.1.weight": torch.zeros(1)}


def of_other_channels(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"mapper.0.weight": torch.zeros(4, 1280, 1, 1)}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lacking, r"lack backbone\.7\.0\.weight"),
        (with_classifier, r"unknown classifier\.1\.weight"),
        (of_other_channels, r"mapper\.0\.weight is \(4, 1280, 1, 1\)"),
    ],
)
def test_a_file_with_other_weights_is_refused(
    broken: object, says: str, tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    assert callable(broken)
    with pytest.raises(ModelUnavailable, match=says):
        load_picture_encoder(with_file(tmp_path, broken(weights)), CPU)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / EFFNET_FILE).write_bytes(b"no tensors")
    checkpoint = replace(open_checkpoint(ModelSource()), picture_encoder=tmp_path / EFFNET_FILE)
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_picture_encoder(checkpoint, CPU)
