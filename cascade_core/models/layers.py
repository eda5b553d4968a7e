"""Layers that the networks share; all features are (b, h, w, c).

Source of the formulas: diffusers 0.42.1, models/unets/unet_stable_cascade.py.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON: Final = 1e-6


def channel_norm(features_bhwc: Tensor) -> Tensor:
    """Normalise every position over its channels."""
    return functional.layer_norm(features_bhwc, features_bhwc.shape[-1:], eps=EPSILON)


def channels_last(features_bchw: Tensor) -> Tensor:
    """Return (b, h, w, c), contiguous."""
    return features_bchw.permute(0, 2, 3, 1).contiguous()


def channels_first(features_bhwc: Tensor) -> Tensor:
    """Return (b, c, h, w), a view."""
    return features_bhwc.permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """Normalises every position over its channels."""

    def forward(self, features_bhwc: Tensor) -> Tensor:
        """Return features of the same shape."""
        return channel_norm(features_bhwc)


class Pointwise(nn.Conv2d):
    """A convolution with a kernel of one pixel, computed as a matrix product."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 1)

    def forward(self, features_bhwc: Tensor) -> Tensor:
        """Return (b, h, w, out_channels)."""
        return functional.linear(features_bhwc, self.weight.flatten(1), self.bias)


class ResponseNorm(nn.Module):
    """Global response normalisation: channels with strong responses grow, others shrink."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, features_bhwc: Tensor) -> Tensor:
        """Return features of the same shape."""
        # torch.norm over these axes is several times slower on a CPU. In float32, as torch.norm
        # sums: squares of float16 would overflow.
        wide = features_bhwc.float()
        norm = (wide * wide).sum((1, 2), keepdim=True).sqrt()
        factor = self.gamma * (norm / (norm.mean(-1, keepdim=True) + EPSILON)) + 1
        return torch.addcmul(self.beta, features_bhwc, factor.to(features_bhwc.dtype))


class Halve(nn.Conv2d):
    """A convolution that halves both sides."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 2, stride=2)

    def forward(self, features_bhwc: Tensor) -> Tensor:
        """Return (b, h // 2, w // 2, out_channels)."""
        return channels_last(super().forward(channels_first(features_bhwc)))


class Double(nn.ConvTranspose2d):
    """A transposed convolution that doubles both sides."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 2, padding: int = 0) -> None:
        super().__init__(channels, out_channels, kernel, stride=2, padding=padding)

    def forward(self, features_bhwc: Tensor) -> Tensor:  # type: ignore[override]
        """Return (b, 2 h, 2 w, out_channels)."""
        return channels_last(super().forward(channels_first(features_bhwc)))


class Resize(nn.Module):
    """Another number of channels and, if wanted, other sides.

    Args:
        channels: of the input.
        out_channels: of the output.
        is_up: True on the way up, where the sides change before the channels.
        is_scaled: False if the sides stay.
    """

    def __init__(self, channels: int, out_channels: int, is_up: bool, is_scaled: bool) -> None:
        super().__init__()
        sides = nn.Upsample(scale_factor=2.0 if is_up else 0.5, mode="bilinear", align_corners=True)
        steps = [sides if is_scaled else nn.Identity(), Pointwise(channels, out_channels)]
        self.blocks = nn.ModuleList(steps if is_up else steps[::-1])

    def forward(self, features_bhwc: Tensor) -> Tensor:
        """Return the new features."""
        for step in self.blocks:
            if isinstance(step, nn.Upsample):
                features_bhwc = channels_last(step(channels_first(features_bhwc)))
            else:
                features_bhwc = step(features_bhwc)
        return features_bhwc


def resize(features_bhwc: Tensor, hw: tuple[int, int]) -> Tensor:
    """Interpolate between positions, corners on corners."""
    first = channels_first(features_bhwc)
    sized = functional.interpolate(first, hw, mode="bilinear", align_corners=True)
    return channels_last(sized)
