"""From a picture to its Stage C latent: what image-to-image starts from."""

from typing import Final

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn
from torch.nn import functional

THUMBNAIL_SCALE: Final = 3 / 8
"""Turns the 42.67 pixels that a Stage C cell covers into the 16 that this network halves away."""


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        """Normalise `channels` channels."""
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


class Residual(nn.Module):
    """Depthwise convolution, then a two-layer perceptron per position, added to the input."""

    def __init__(self, channels: int, kernel: int = 3, growth: int = 3) -> None:
        """Build a block for `channels` channels."""
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        last = nn.Linear(channels * growth, channels)
        self.mix = nn.Sequential(nn.Linear(channels, channels * growth), nn.GELU(), last)
        # A quiet start keeps the sum of blocks near the identity.
        with torch.no_grad():
            last.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        mixed: Tensor = self.mix(self.norm(self.spread(x).permute(0, 2, 3, 1)))
        return x + mixed.permute(0, 3, 1, 2)


class LatentEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Thumbnails (B, 3, h, w) in [0, 1] -> Stage C latents (B, 16, h/16, w/16), about unit scale.

    Saved and loaded like every part of a cascade: `save_pretrained`, `from_pretrained`.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, widths: tuple[int, int, int] = (40, 80, 144), latent_channels: int = 16
    ) -> None:
        """Build the network."""
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
        """Encode thumbnails."""
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
