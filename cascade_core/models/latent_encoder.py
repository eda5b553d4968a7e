"""The network that encodes a picture to its Stage C latent, as the demo model was trained with it.

`cascade_core.conditioning.latent_encoder` trains it and writes its file. Features are (b, c, h, w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor, nn

from cascade_core.models.limits import MAX_CHANNELS, check_count
from cascade_core.models.network import Network

CELL_PX: Final = 16
"""Pixels of its input per side of a latent's cell."""


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Return the normalised features, of the same shape."""
        normed: Tensor = self.norm(features_bchw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


class Residual(nn.Module):
    """Depthwise convolution, then a two-layer perceptron per position, added to the input.

    Args:
        channels: of the input and the output.
        kernel: side of the convolution.
        growth: width of the perceptron's hidden layer, in multiples of ``channels``.
    """

    def __init__(self, channels: int, kernel: int = 3, growth: int = 3) -> None:
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        last = nn.Linear(channels * growth, channels)
        self.mix = nn.Sequential(nn.Linear(channels, channels * growth), nn.GELU(), last)
        # Small initial weights keep the sum of blocks near the identity.
        with torch.no_grad():
            last.weight.mul_(0.3)

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Return features of the same shape."""
        spread = self.spread(features_bchw)
        mixed: Tensor = self.mix(self.norm(spread.permute(0, 2, 3, 1)))
        return features_bchw + mixed.permute(0, 3, 1, 2)


def encoder_layers(widths: Sequence[int], latent_channels: int) -> nn.Sequential:
    """Return the layers from pictures, -1 to 1, to latents that are not scaled yet.

    Args:
        widths: three numbers of channels: at 1/4, 1/8 and 1/16 of the input's size.
        latent_channels: of the latents.
    """
    fine, middle, coarse = widths
    return nn.Sequential(
        nn.Conv2d(3, fine, 6, stride=4, padding=1),
        ChannelNorm(fine),
        Residual(fine),
        nn.Conv2d(fine, middle, 2, stride=2),
        ChannelNorm(middle),
        Residual(middle, 5),
        Residual(middle, 5),
        nn.Conv2d(middle, coarse, 2, stride=2),
        ChannelNorm(coarse),
        Residual(coarse, 5),
        Residual(coarse, 5),
        ChannelNorm(coarse),
        nn.Conv2d(coarse, latent_channels, 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentEncoderConfig:
    """The values of ``config.json`` that shape the network."""

    widths: tuple[int, ...] = (40, 80, 144)
    latent_channels: int = 16

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Return the values of a ``config.json``.

        Raises:
            ValueError: no network has such values.
        """
        widths = tuple(config.get("widths", cls().widths))
        channels = config.get("latent_channels", cls().latent_channels)
        if len(widths) != 3:
            raise ValueError("widths must be three numbers")
        for name, count in (
            *(("widths", width) for width in widths),
            ("latent_channels", channels),
        ):
            check_count(name, count, 1, MAX_CHANNELS)
        return cls(widths=widths, latent_channels=channels)


class LatentEncoderNetwork(Network):
    """The network alone; the names of its weights are those of the trained module."""

    cell_px: ClassVar[int] = CELL_PX

    def __init__(self, config: LatentEncoderConfig) -> None:
        super().__init__()
        self.latent_channels = config.latent_channels
        self.net = encoder_layers(config.widths, config.latent_channels)
        self.scale = nn.BatchNorm2d(config.latent_channels, affine=False)

    def forward(self, rgb_bchw: Tensor) -> Tensor:
        """Encode pictures (b, 3, 16 h, 16 w), 0 to 1, to latents (b, c, h, w) of unit scale."""
        latents: Tensor = self.scale(self.net(rgb_bchw * 2 - 1))
        return latents
