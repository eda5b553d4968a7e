"""The configurations of Würstchen's networks, and the names of its weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cascade_core.models.wuerstchen import DecoderNetwork, PriorNetwork
from cascade_core.models.wuerstchen_config import DiffNextConfig, PriorConfig

# config.json of warp-ai/wuerstchen-prior and warp-ai/wuerstchen.
PUBLISHED_PRIOR = {
    "_class_name": "WuerstchenPrior",
    "_diffusers_version": "0.21.0.dev0",
    "c": 1536,
    "c_cond": 1280,
    "c_in": 16,
    "c_r": 64,
    "depth": 32,
    "dropout": 0.1,
    "nhead": 24,
}
PUBLISHED_DECODER = {
    "_class_name": "WuerstchenDiffNeXt",
    "_diffusers_version": "0.21.0.dev0",
    "blocks": [4, 4, 14, 4],
    "c_cond": 1024,
    "c_hidden": [320, 640, 1280, 1280],
    "c_in": 4,
    "c_out": 4,
    "c_r": 64,
    "clip_embd": 1024,
    "dropout": 0.1,
    "effnet_embd": 16,
    "inject_effnet": [False, True, True, True],
    "kernel_size": 3,
    "level_config": ["CT", "CTA", "CTA", "CTA"],
    "nhead": [-1, 10, 20, 20],
    "patch_size": 2,
}


@pytest.mark.parametrize(
    ("build", "size_gb"),
    [
        (lambda: PriorNetwork(PriorConfig.read(PUBLISHED_PRIOR)), 3.97),
        (lambda: DecoderNetwork(DiffNextConfig.read(PUBLISHED_DECODER)), 4.22),
    ],
    ids=["prior", "decoder"],
)
def test_networks_of_the_published_sizes_fit_the_published_files(
    build: Any, size_gb: float
) -> None:
    with torch.device("meta"):
        network = build()
    weights_bytes = sum(4 * place.numel() for place in network.places().values())
    assert weights_bytes == pytest.approx(size_gb * 1e9, rel=0.005)
    assert not any(name.startswith("module.") for name in network.places())


def test_diffusers_defaults_are_ours() -> None:
    assert DiffNextConfig.read(PUBLISHED_DECODER).arguments() == DiffNextConfig().arguments()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"c_in": 0}, "c_in must be a whole number from 1"),
        ({"depth": 1e9}, "depth must be a whole number"),
        ({"c_r": 2}, "c_r must be a whole number from 4"),
        ({"nhead": 7}, "nhead is 7, which does not divide 1536"),
    ],
)
def test_a_number_that_no_prior_has_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PriorConfig.read(PUBLISHED_PRIOR | wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": [4, 4]}, "blocks must have 4 entries"),
        ({"nhead": 8}, "nhead must have 4 entries"),
        ({"nhead": [-1, 10, 20, 0]}, "nhead must be a whole number"),
        ({"level_config": ["CT", "CTA", "CTX", "CTA"]}, "level_config knows C, T and A"),
        ({"blocks": [4, 4, 10_000, 4]}, "blocks must be a whole number"),
        ({"c_hidden": []}, "the length of c_hidden"),
        ({"effnet_embd": None}, "effnet_embd must be a whole number"),
    ],
)
def test_a_value_that_no_decoder_has_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiffNextConfig.read(PUBLISHED_DECODER | wrong)
