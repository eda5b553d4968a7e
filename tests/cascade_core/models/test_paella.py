"""Our decoder of Stage A against diffusers' module."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import load_vqgan_decoder
from cascade_core.models.paella import PaellaConfig, PaellaDecoder

ROUNDING = 1e-6


def make_both(**config: Any) -> tuple[Any, PaellaDecoder]:
    torch.manual_seed(1)
    stock = PaellaVQModel(num_vq_embeddings=8, **config).eval().requires_grad_(False)
    for name, parameter in stock.named_parameters():
        if name.endswith("gammas"):
            parameter.data.normal_(0, 0.3)
    ours = PaellaDecoder(PaellaConfig.read(dict(stock.config))).requires_grad_(False)
    assert ours.compare(stock.state_dict()) == (set(), [])
    ours.fill(stock.state_dict().items())
    return stock, ours


def error(stock: Any, ours: PaellaDecoder, latents: torch.Tensor) -> float:
    expected = stock.decode(stock.config.scale_factor * latents).sample
    drawn = ours(latents)
    assert drawn.shape == expected.shape
    return float((drawn - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("hw", [(8, 8), (5, 9)])
@pytest.mark.parametrize(
    "config",
    [
        {"bottleneck_blocks": 1, "embed_dim": 32},
        {"bottleneck_blocks": 3, "embed_dim": 16, "levels": 1},
        {"bottleneck_blocks": 2, "embed_dim": 32, "levels": 3, "latent_channels": 8},
        {"bottleneck_blocks": 1, "embed_dim": 16, "up_down_scale_factor": 4, "out_channels": 1},
    ],
)
def test_pixels_equal_those_of_the_stock_module_but_for_rounding(
    config: dict[str, Any], hw: tuple[int, int]
) -> None:
    stock, ours = make_both(**config)
    latents = torch.randn(2, stock.config.latent_channels, *hw)
    assert error(stock, ours, latents) < ROUNDING


def test_the_demo_model_gives_the_stock_modules_pixels() -> None:
    checkpoint = open_checkpoint(ModelSource())
    stock = PaellaVQModel.from_pretrained(checkpoint.component("vqgan")).eval()
    ours = load_vqgan_decoder(checkpoint, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        assert error(stock, ours, torch.randn(1, 4, 24, 40)) < ROUNDING


def test_bfloat16_weights_give_bfloat16_pixels_near_those_of_float32() -> None:
    stock, ours = make_both(bottleneck_blocks=2, embed_dim=32)
    latents = torch.randn(1, 4, 8, 8)
    expected = stock.decode(stock.config.scale_factor * latents).sample
    drawn = ours.to(torch.bfloat16)(latents.to(torch.bfloat16))
    assert drawn.dtype == torch.bfloat16
    assert float((drawn.float() - expected).abs().max() / expected.abs().max()) < 2.0**-5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"levels": 0}, "levels must be a whole number from 1 to 9"),
        ({"levels": 10}, "levels must be a whole number from 1 to 9"),
        ({"bottleneck_blocks": 10**9}, "bottleneck_blocks must be a whole number"),
        ({"embed_dim": 10**6}, "embed_dim must be a whole number from 1 to 65536"),
        ({"scale_factor": None}, "scale_factor must be a number"),
        ({"scale_factor": float("inf")}, "scale_factor must be a number"),
    ],
)
def test_a_number_that_no_network_has_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PaellaConfig.read(wrong)
