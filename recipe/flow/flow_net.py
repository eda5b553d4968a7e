"""The flow model's net: the cascade's own U-Net blocks, and how it starts from Stage B."""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cascade_core.models.latent_encoder import ChannelNorm
from cascade_core.models.layers import EPSILON, ResponseNorm
from cascade_core.models.unet import CascadeUnet
from cascade_core.models.unet_config import UnetConfig
from recipe.training.meaning import MAP_CHANNELS
from recipe.training.text_encoder import WIDTH as TEXT_WIDTH
from recipe.training.unets import ATTENTION_BLOCKS, CONV_BLOCKS, QUIET

LATENT_CHANNELS: Final = 4
PATCH: Final = 4
LAYERS: Final = 3
"""Layers of the coarse level on each way; Stage B has two."""
CONFIG: Final[dict[str, Any]] = {
    "_class_name": "StableCascadeUNet",
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "timestep_ratio_embedding_dim": 32,
    "patch_size": PATCH,
    "conditioning_dim": 128,
    "block_out_channels": [128, 192],
    "num_attention_heads": [-1, 4],
    "down_num_layers_per_block": [1, LAYERS],
    "up_num_layers_per_block": [LAYERS, 2],
    "down_blocks_repeat_mappers": [1, 1],
    "up_blocks_repeat_mappers": [1, 1],
    "block_types_per_layer": [list(CONV_BLOCKS), list(ATTENTION_BLOCKS)],
    "clip_text_in_channels": TEXT_WIDTH,
    "clip_text_pooled_in_channels": TEXT_WIDTH,
    "clip_image_in_channels": TEXT_WIDTH,
    "clip_seq": 4,
    "kernel_size": 5,
    "dropout": [0.0, 0.0],
    "self_attn": [False, True],
    "timestep_conditioning_type": ["sca"],
}
LEAST_SQUARE: Final = 1e-20
_OF_STAGE_B_ALONE: Final = ("effnet_mapper.", "pixels_mapper.")


def build_flow() -> CascadeUnet:
    """Return the untrained net: text -> 4x64x64, the direction from picture to noise."""
    return CascadeUnet(UnetConfig.read(CONFIG))


@torch.no_grad()
def start_from_stage_b(net: CascadeUnet, weights: Path) -> None:
    """Give the net Stage B's weights, and let the layers that Stage B has not change little.

    Stage B works in the same latent space, so it knows outlines and patterns already. What it does
    not know is the composition, as that was its input.

    Args:
        net: changed in place.
        weights: Stage B's safetensors file.
    """
    _quieten(net)
    places = net.places()
    for name, weight in load_file(weights).items():
        if not name.startswith(_OF_STAGE_B_ALONE):
            places[_moved(name)].copy_(weight)


def _quieten(net: CascadeUnet) -> None:
    for name, parameter in net.named_parameters():
        if ".mapper" in name:  # of a time block
            parameter.zero_()
        elif ".channelwise.4." in name or ".to_out.0." in name:
            parameter.mul_(QUIET)


def _moved(name: str) -> str:
    """Return the place of one of Stage B's weights: its last layers stay the last ones."""
    coarse = "up_blocks.0."
    if not name.startswith(coarse):
        return name
    block, _, rest = name.removeprefix(coarse).partition(".")
    added = (LAYERS - 2) * len(ATTENTION_BLOCKS)
    return f"{coarse}{int(block) + added}.{rest}"


class _TrainableNorm(ResponseNorm):
    """Has a gradient where a channel is zero everywhere: the root alone has none there."""

    def forward(self, features_bhwc: Tensor) -> Tensor:
        squares = features_bhwc.square().sum((1, 2), keepdim=True)
        norm = squares.clamp(min=LEAST_SQUARE).sqrt()
        factor = self.gamma * (norm / (norm.mean(-1, keepdim=True) + EPSILON)) + 1
        return torch.addcmul(self.beta, features_bhwc, factor)


class TaughtFlow(nn.Module):
    """The net with a head, used in training only, that paints what the scene means.

    Noise and grain drown what a caption says of a scene. The scene is known exactly, so the head
    is a clear teacher of the net's last features.
    """

    def __init__(self) -> None:
        """Build the net and its head."""
        super().__init__()
        self.net = build_flow()
        for module in self.net.modules():
            if isinstance(module, ResponseNorm):
                module.__class__ = _TrainableNorm
        width = self.net.config.block_out_channels[0]
        paint = nn.Conv2d(width, MAP_CHANNELS * 4, 1)
        self.paint = nn.Sequential(ChannelNorm(width), paint, nn.PixelShuffle(2))

    def forward(
        self, noisy: Tensor, times: Tensor, hidden: Tensor, pooled: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the direction (B, 4, H, W) and the painted meaning (B, maps, H/2, W/2)."""
        features: list[Tensor] = []
        hook = self.net.clf.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        direction = predict(self.net, noisy, times, hidden, pooled)
        hook.remove()
        painted: Tensor = self.paint(features[0].permute(0, 3, 1, 2))
        return direction, painted


def predict(
    net: CascadeUnet, noisy: Tensor, times: Tensor, hidden: Tensor, pooled: Tensor
) -> Tensor:
    """Return the direction of every latent (B, 4, H, W) at its time (B,)."""
    no_image = torch.zeros(len(noisy), 1, TEXT_WIDTH)
    height, width = noisy.shape[2:]
    held = net.hold((height, width), pooled=pooled, text=hidden, image=no_image)
    return net.predict(noisy, net.time_table(times), held.context)
