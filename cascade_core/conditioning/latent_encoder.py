"""Encodes a picture to its Stage C latent: the compressor that the demo model was trained with."""

from __future__ import annotations

from typing import Final

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn
from torch.nn import functional

THUMBNAIL_SCALE: Final = 3 / 8
"""Pixels of a thumbnail per pixel of the picture: a Stage C cell then covers 16 of them."""


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


class LatentEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Turns pictures into Stage C latents of about unit scale.

    ``save_pretrained`` and ``from_pretrained`` save and load it, as every part of a model folder.

    Args:
        widths: channels at 1/4, 1/8 and 1/16 of a thumbnail's size.
        latent_channels: of the latents.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, widths: tuple[int, int, int] = (40, 80, 144), latent_channels: int = 16
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.net = nn.Sequential(
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
        self.scale = nn.BatchNorm2d(latent_channels, affine=False, momentum=0.02)

    def forward(self, thumbnails_bchw: Tensor) -> Tensor:
        """Encode thumbnails (B, 3, h, w) in [0, 1] to latents (B, 16, h/16, w/16)."""
        latents: Tensor = self.scale(self.net(thumbnails_bchw * 2 - 1))
        return latents

    @torch.no_grad()
    def encode(self, pictures_bchw: Tensor) -> Tensor:
        """Encode whole pictures (B, 3, H, W) in [0, 1]; sides are multiples of 128 pixels."""
        height, width = (round(side * THUMBNAIL_SCALE) for side in pictures_bchw.shape[2:])
        thumbnails = functional.interpolate(
            pictures_bchw, (height, width), mode="bilinear", antialias=True
        )
        latents: Tensor = self(thumbnails)
        return latents
