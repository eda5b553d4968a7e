"""Stage A's decoder: from the latent of Stage B to pixels.

Source of the formulas: PaellaVQModel, diffusers 0.42.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from cascade_core.models.layers import (
    EPSILON,
    Double,
    Pointwise,
    channels_first,
    channels_last,
)
from cascade_core.models.limits import MAX_CHANNELS, MAX_LAYERS, check_count, check_number
from cascade_core.models.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class PaellaConfig:
    """The values of ``config.json`` that shape the decoder; see diffusers' PaellaVQModel."""

    out_channels: int = 3
    up_down_scale_factor: int = 2
    levels: int = 2
    bottleneck_blocks: int = 12
    embed_dim: int = 384
    latent_channels: int = 4
    scale_factor: float = 0.3764

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Return the values of a ``config.json``.

        Raises:
            ValueError: no network has such values.
        """
        known = {field.name for field in fields(cls)}
        read = cls(**{name: value for name, value in config.items() if name in known})
        for name in ("out_channels", "embed_dim", "latent_channels", "up_down_scale_factor"):
            check_count(name, getattr(read, name), 1, MAX_CHANNELS)
        # Each level has half the channels of the one before.
        check_count("levels", read.levels, 1, read.embed_dim.bit_length())
        check_count("bottleneck_blocks", read.bottleneck_blocks, 0, MAX_LAYERS)
        check_number("scale_factor", read.scale_factor)
        return read


class MixingBlock(nn.Module):
    """A depthwise convolution and a perceptron, each added with a learnt strength."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, channels, 3, groups=channels)
        self.depthwise = nn.Sequential(nn.Identity(), conv)
        self.channelwise = nn.Sequential(
            nn.Linear(channels, channels * 4), nn.GELU(), nn.Linear(channels * 4, channels)
        )
        self.gammas = nn.Parameter(torch.zeros(6))

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Return features of the same shape."""
        gammas = self.gammas
        padded = functional.pad(
            channels_first(_norm(x_bhwc, gammas[0], gammas[1])), (1, 1, 1, 1), mode="replicate"
        )
        spread = self.depthwise(padded).permute(0, 2, 3, 1)
        x_bhwc = torch.addcmul(x_bhwc, spread, gammas[2])
        mixed = self.channelwise(_norm(x_bhwc, gammas[3], gammas[4]))
        return torch.addcmul(x_bhwc, mixed, gammas[5])


class PaellaDecoder(Network):
    """The decoder half of diffusers' PaellaVQModel; the names of its weights are the same."""

    unused = ("in_block.", "down_blocks.", "vquantizer.")

    def __init__(self, config: PaellaConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.embed_dim // 2**level for level in range(config.levels)]
        layers: list[nn.Module] = [
            nn.Sequential(Pointwise(config.latent_channels, widths[0])),
        ]
        for level, width in enumerate(widths):
            count = 1 if level else config.bottleneck_blocks
            layers += [MixingBlock(width) for _ in range(count)]
            if level + 1 < config.levels:
                layers.append(Double(width, widths[level + 1], kernel=4, padding=1))
        self.up_blocks = nn.Sequential(*layers)
        patch = config.up_down_scale_factor**2
        pixels = Pointwise(widths[-1], config.out_channels * patch)
        self.out_block = nn.Sequential(pixels)

    def forward(self, latents_bchw: Tensor) -> Tensor:
        """Decode Stage B latents, unscaled, into (b, 3, H, W) with values around 0 to 1."""
        x = channels_last(self.config.scale_factor * latents_bchw)
        decoded = channels_first(self.out_block(self.up_blocks(x)))
        return functional.pixel_shuffle(decoded, self.config.up_down_scale_factor)


def _norm(x_bhwc: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalise over the channels, then multiply by ``1 + scale`` and add ``shift``."""
    shape = x_bhwc.shape[-1:]
    weight, bias = (1 + scale).expand(shape), shift.expand(shape)
    return functional.layer_norm(x_bhwc, shape, weight.contiguous(), bias.contiguous(), EPSILON)
