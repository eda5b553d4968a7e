"""Our U-Net against diffusers' module, in every shape that a configuration can give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import load_unet
from cascade_core.models.unet import CascadeUnet
from cascade_core.models.unet_config import UnetConfig
from tests.tiny_model import IMAGE_CHANNELS, POOLED_CHANNELS, TEXT_CHANNELS, TinyModel

CPU = torch.device("cpu")
ROUNDING = 1e-6
"""Of the largest value, for one step in float32."""
BFLOAT16_ROUNDING = 2.0**-5

RES, TIME, ATTENTION = "SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"
BASE: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "timestep_ratio_embedding_dim": 16,
    "patch_size": 1,
    "conditioning_dim": 24,
    "block_out_channels": [16, 32],
    "num_attention_heads": [2, 4],
    "down_num_layers_per_block": [1, 2],
    "up_num_layers_per_block": [2, 1],
    "down_blocks_repeat_mappers": [1, 1],
    "up_blocks_repeat_mappers": [1, 1],
    "block_types_per_layer": [[RES, TIME, ATTENTION]] * 2,
    "clip_text_pooled_in_channels": POOLED_CHANNELS,
    "kernel_size": 3,
    "dropout": [0.1, 0.1],
}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "text and image": {
        "clip_text_in_channels": TEXT_CHANNELS,
        "clip_image_in_channels": IMAGE_CHANNELS,
    },
    "features and pixels": {
        "effnet_in_channels": 16,
        "pixel_mapper_in_channels": 3,
        "patch_size": 2,
    },
    "features alone": {"effnet_in_channels": 16},
    "sides stay": {"switch_level": [False]},
    "sides change by interpolation": {"switch_level": [True]},
    "mappers between repeats": {
        "down_blocks_repeat_mappers": [2, 3],
        "up_blocks_repeat_mappers": [3, 2],
    },
    "positions see the context alone": {"self_attn": False},
    "one level sees itself": {"self_attn": [False, True]},
    "no further times": {"timestep_conditioning_type": []},
    "an odd embedding": {"timestep_ratio_embedding_dim": 17},
    "a large kernel": {"kernel_size": 7},
    "no attention": {"block_types_per_layer": [[RES, TIME]] * 2},
    "time first": {"block_types_per_layer": [[TIME, RES], [TIME, RES]]},
    "three levels": {
        "block_out_channels": [8, 16, 24],
        "num_attention_heads": [1, 2, 3],
        "down_num_layers_per_block": [1, 2, 1],
        "up_num_layers_per_block": [1, 1, 2],
        "down_blocks_repeat_mappers": [1, 1, 1],
        "up_blocks_repeat_mappers": [2, 1, 1],
        "block_types_per_layer": [[RES, TIME], [RES, TIME, ATTENTION], [RES, ATTENTION]],
        "dropout": [0, 0, 0],
    },
}


@dataclass
class Inputs:
    """One step's inputs of several rows."""

    latents: torch.Tensor
    times: torch.Tensor
    conditioning: dict[str, torch.Tensor]

    def stock(self, unet: Any) -> torch.Tensor:
        names = {"pooled": "clip_text_pooled", "text": "clip_text", "image": "clip_img"}
        conditioning = {names.get(name, name): value for name, value in self.conditioning.items()}
        predicted: torch.Tensor = unet(self.latents, self.times, **conditioning).sample
        return predicted

    def ours(self, unet: CascadeUnet) -> torch.Tensor:
        hw = (self.latents.shape[2], self.latents.shape[3])
        held = [
            unet.hold(
                hw, **{name: value[row : row + 1] for name, value in self.conditioning.items()}
            )
            for row in range(len(self.latents))
        ]
        predicted: torch.Tensor = unet(self.latents, unet.time_table(self.times), held)
        return predicted

    def row(self, row: int) -> Inputs:
        at = slice(row, row + 1)
        conditioning = {name: value[at] for name, value in self.conditioning.items()}
        return Inputs(self.latents[at], self.times[at], conditioning)


def make_inputs(config: Any, hw: tuple[int, int], rows: int, dtype: torch.dtype) -> Inputs:
    generator = torch.Generator().manual_seed(rows)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(rows, *shape, generator=generator).to(dtype)

    conditioning = {"pooled": draw(1, config["clip_text_pooled_in_channels"])}
    if config["clip_text_in_channels"] is not None:
        conditioning["text"] = draw(9, config["clip_text_in_channels"])
        conditioning["image"] = draw(1, config["clip_image_in_channels"])
    if config["effnet_in_channels"] is not None:
        conditioning["effnet"] = draw(config["effnet_in_channels"], 5, 7)
    times = torch.rand(rows, generator=generator).to(dtype)
    return Inputs(draw(config["in_channels"], *hw), times, conditioning)


def make_both(shape: dict[str, Any], dtype: torch.dtype = torch.float32) -> tuple[Any, CascadeUnet]:
    """Return diffusers' module with random weights, and ours with the same."""
    torch.manual_seed(3)
    stock = StableCascadeUNet(**(BASE | shape)).eval().requires_grad_(False)
    for name, parameter in stock.named_parameters():
        if name.endswith(("gamma", "beta")):
            parameter.data.normal_(0, 0.3)
    ours = CascadeUnet(UnetConfig.read(dict(stock.config))).requires_grad_(False)
    assert ours.compare(stock.state_dict()) == (set(), [])
    ours.fill(stock.state_dict().items())
    return stock.to(dtype), ours.to(dtype)


def error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    return float((ours.float() - expected.float()).abs().max() / expected.float().abs().max())


@pytest.mark.parametrize("hw", [(8, 8), (12, 8), (10, 14)])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_equals_that_of_the_stock_module_but_for_rounding(
    shape: str, hw: tuple[int, int]
) -> None:
    stock, ours = make_both(SHAPES[shape])
    inputs = make_inputs(stock.config, hw, rows=3, dtype=torch.float32)
    assert error(inputs.ours(ours), inputs.stock(stock)) < ROUNDING


@pytest.mark.parametrize("hw", [(9, 11), (7, 8)])
def test_sides_that_do_not_halve_evenly_are_as_the_stock_module_has_them(
    hw: tuple[int, int],
) -> None:
    stock, ours = make_both({})
    inputs = make_inputs(stock.config, hw, rows=2, dtype=torch.float32)
    assert error(inputs.ours(ours), inputs.stock(stock)) < ROUNDING


@pytest.mark.parametrize(
    ("name", "side"), [("prior", 6), ("prior", 8), ("decoder", 16), ("decoder", 20)]
)
def test_the_published_layout_gives_the_stock_modules_step(
    name: str, side: int, tiny_model: TinyModel
) -> None:
    stock = getattr(tiny_model, name)
    ours = CascadeUnet(UnetConfig.read(dict(stock.config))).requires_grad_(False)
    ours.fill(stock.state_dict().items())
    inputs = make_inputs(stock.config, (side, side), rows=2, dtype=torch.float32)
    assert error(inputs.ours(ours), inputs.stock(stock)) < ROUNDING


@pytest.mark.parametrize(("name", "hw"), [("prior", (6, 9)), ("decoder", (64, 48))])
def test_the_demo_model_gives_the_stock_modules_step(name: str, hw: tuple[int, int]) -> None:
    checkpoint = open_checkpoint(ModelSource())
    stock = StableCascadeUNet.from_pretrained(checkpoint.component(name)).eval()
    ours = load_unet(checkpoint, name, CPU, torch.float32)
    inputs = make_inputs(stock.config, hw, rows=3, dtype=torch.float32)
    with torch.inference_mode():
        assert error(inputs.ours(ours), inputs.stock(stock)) < ROUNDING


@pytest.mark.parametrize("shape", ["text and image", "features and pixels"])
def test_bfloat16_equals_the_stock_module_within_its_rounding(shape: str) -> None:
    stock, ours = make_both(SHAPES[shape], torch.bfloat16)
    inputs = make_inputs(stock.config, (8, 8), rows=2, dtype=torch.bfloat16)
    assert error(inputs.ours(ours), inputs.stock(stock)) < BFLOAT16_ROUNDING


def test_strong_float16_responses_do_not_overflow() -> None:
    stock, ours = make_both({"block_types_per_layer": [[RES, TIME]] * 2})
    for module in ours.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data.mul_(6)
    inputs = make_inputs(stock.config, (32, 32), rows=1, dtype=torch.float16)
    assert bool(torch.isfinite(inputs.ours(ours.to(torch.float16))).all())


@pytest.mark.parametrize("shape", ["text and image", "features and pixels", "three levels"])
def test_a_row_does_not_depend_on_its_neighbours(shape: str) -> None:
    stock, ours = make_both(SHAPES[shape])
    inputs = make_inputs(stock.config, (8, 8), rows=5, dtype=torch.float32)
    together = inputs.ours(ours)
    for row in range(5):
        assert error(inputs.row(row).ours(ours), together[row : row + 1]) < 10 * ROUNDING


def test_a_table_for_many_times_holds_the_table_of_each() -> None:
    _, ours = make_both({})
    times = torch.linspace(1, 0, 7)
    table = ours.time_table(times)
    assert torch.allclose(table[3:4], ours.time_table(times[3:4]), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_attention_heads": [2]}, "num_attention_heads must have 2 entries"),
        ({"switch_level": []}, "switch_level must have 1 entries"),
        ({"self_attn": [True]}, "self_attn must be one value or 2"),
        ({"num_attention_heads": [2, 5]}, "num_attention_heads is 5, which does not divide 32"),
        ({"num_attention_heads": [2, 0]}, "num_attention_heads must be a whole number from 1"),
        ({"block_out_channels": []}, "length of block_out_channels must be a whole number from 1"),
        ({"block_out_channels": [16, 2**17]}, "block_out_channels must be a whole number"),
        ({"conditioning_dim": "24"}, "conditioning_dim must be a whole number"),
        ({"up_num_layers_per_block": [10**9, 1]}, "up_num_layers_per_block must be a whole number"),
        ({"down_blocks_repeat_mappers": [1, 10**9]}, "down_blocks_repeat_mappers must be a whole"),
        ({"block_types_per_layer": [[RES] * 10**5] * 2}, "number of all blocks must be"),
        ({"timestep_conditioning_type": ["t"] * 10**5}, "length of timestep_conditioning_type"),
        ({"block_types_per_layer": [["Conv"]] * 2}, "unknown kind of block 'Conv'"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CascadeUnet(UnetConfig.read(BASE | wrong))


@pytest.mark.parametrize("heads", [0, -1])
def test_a_level_without_attention_may_state_no_heads(heads: int) -> None:
    kinds = [[RES, TIME], [RES, TIME, ATTENTION]]
    config = BASE | {"num_attention_heads": [heads, 4], "block_types_per_layer": kinds}
    built = CascadeUnet(UnetConfig.read(config)).state_dict()
    assert {name.split(".")[1] for name in built if "to_qkv" in name and "down" in name} == {"1"}
