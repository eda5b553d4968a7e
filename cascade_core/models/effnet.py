"""Stability's encoder of pictures: the features of EfficientNetV2-S, mapped to Stage C's channels.

Its file is ``effnet_encoder.safetensors``. The names of its weights are those of torchvision's
``efficientnet_v2_s().features`` below ``backbone.``, and those of two layers below ``mapper.``.

Sources: modules/effnet.py, Stability-AI/StableCascade 7a7d341; models/efficientnet.py, torchvision
0.28 (Tan and Le, EfficientNetV2, 2021, table 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from torch import Tensor, nn

from cascade_core.models.network import Network

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
NORM_EPSILON: Final = 1e-3
"""Of the backbone's batch norms; that of the mapper has PyTorch's 1e-5."""
_FIRST_CHANNELS, _LAST_CHANNELS = 24, 1280


@dataclass(frozen=True, slots=True)
class _Group:
    """Blocks of one size; the first one may halve the sides."""

    is_fused: bool
    growth: int
    stride: int
    channels: int
    blocks: int


_GROUPS: Final = (
    _Group(is_fused=True, growth=1, stride=1, channels=24, blocks=2),
    _Group(is_fused=True, growth=4, stride=2, channels=48, blocks=4),
    _Group(is_fused=True, growth=4, stride=2, channels=64, blocks=4),
    _Group(is_fused=False, growth=4, stride=2, channels=128, blocks=6),
    _Group(is_fused=False, growth=6, stride=1, channels=160, blocks=9),
    _Group(is_fused=False, growth=6, stride=2, channels=256, blocks=15),
)


class SqueezeExcitation(nn.Module):
    """Scales each channel by what the means of all channels say."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Return features of the same shape."""
        means = features_bchw.mean((2, 3), keepdim=True)
        scale: Tensor = self.fc2(nn.functional.silu(self.fc1(means))).sigmoid()
        return features_bchw * scale


class InvertedBottleneck(nn.Module):
    """More channels, a convolution, fewer channels; added to the input where shapes are equal.

    Args:
        channels: of the input.
        stride: of the convolution.
        group: that the block belongs to.
    """

    def __init__(self, channels: int, stride: int, group: _Group) -> None:
        super().__init__()
        wide, out = channels * group.growth, group.channels
        if group.is_fused and group.growth == 1:
            layers: list[nn.Module] = [_convolution(channels, out, 3, stride)]
        elif group.is_fused:
            layers = [
                _convolution(channels, wide, 3, stride),
                _convolution(wide, out, 1, is_active=False),
            ]
        else:
            layers = [
                _convolution(channels, wide, 1),
                _convolution(wide, wide, 3, stride, groups=wide),
                SqueezeExcitation(wide, channels // 4),
                _convolution(wide, out, 1, is_active=False),
            ]
        self.block = nn.Sequential(*layers)
        self._adds_input = stride == 1 and channels == out

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Return (b, channels of the group, h / stride, w / stride)."""
        made: Tensor = self.block(features_bchw)
        return made + features_bchw if self._adds_input else made


class EffnetEncoder(Network):
    """The whole encoder; it must be in eval mode, as its norms have learnt statistics.

    Args:
        latent_channels: of Stage C.
    """

    cell_px: ClassVar[int] = 32

    def __init__(self, latent_channels: int = 16) -> None:
        super().__init__()
        self.latent_channels = latent_channels
        channels = _FIRST_CHANNELS
        layers: list[nn.Module] = [_convolution(3, channels, 3, 2)]
        for group in _GROUPS:
            blocks = []
            for stride in [group.stride] + [1] * (group.blocks - 1):
                blocks.append(InvertedBottleneck(channels, stride, group))
                channels = group.channels
            layers.append(nn.Sequential(*blocks))
        layers.append(_convolution(channels, _LAST_CHANNELS, 1))
        self.backbone = nn.Sequential(*layers)
        self.mapper = nn.Sequential(
            nn.Conv2d(_LAST_CHANNELS, latent_channels, 1, bias=False),
            nn.BatchNorm2d(latent_channels, affine=False),
        )

    def forward(self, rgb_bchw: Tensor) -> Tensor:
        """Encode pictures (b, 3, 32 h, 32 w), 0 to 1, to latents (b, c, h, w) of unit scale."""
        latents: Tensor = self.mapper(self.backbone(normalised(rgb_bchw)))
        return latents


def normalised(rgb_bchw: Tensor) -> Tensor:
    """Return colours, 0 to 1, relative to ImageNet's mean and deviation, as the backbone needs."""
    mean = rgb_bchw.new_tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = rgb_bchw.new_tensor(IMAGENET_STD).view(3, 1, 1)
    return (rgb_bchw - mean) / std


def _convolution(
    channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    is_active: bool = True,
) -> nn.Module:
    """Return a convolution with its norm and, if it is active, SiLU."""
    conv = nn.Conv2d(
        channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    layers = [conv, nn.BatchNorm2d(out_channels, eps=NORM_EPSILON)]
    return nn.Sequential(*layers, *([nn.SiLU()] if is_active else []))
