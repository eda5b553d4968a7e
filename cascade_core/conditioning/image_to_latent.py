"""Encodes a picture to the Stage C latent that an image may start from."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import load_picture_encoder
from cascade_core.images.pixels import Rgb


class PictureNetwork(Protocol):
    """A network from pictures to latents.

    Attributes:
        cell_px: pixels of its input per side of a latent's cell.
        device: where its weights are.
        latent_channels: of the latents.
    """

    latent_channels: int

    @property
    def cell_px(self) -> int: ...  # noqa: D102

    @property
    def device(self) -> torch.device: ...  # noqa: D102

    def __call__(self, rgb_bchw: Tensor) -> Tensor:
        """Encode (b, 3, h * cell_px, w * cell_px), 0 to 1, to (b, c, h, w), float32."""


class ImageToLatent:
    """Encodes pictures of any size to latents of any size.

    Args:
        network: the model's.
    """

    def __init__(self, network: PictureNetwork) -> None:
        self._network = network

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device) -> Self:
        """Load the model's encoder.

        Raises:
            ModelUnavailable: the model has none, or its files are wrong.
        """
        return cls(load_picture_encoder(checkpoint, device))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self._network.latent_channels

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._network.device

    @torch.inference_mode()
    def encode(self, rgb_hwc: Rgb, latent_hw: tuple[int, int]) -> Tensor:
        """Encode as much of a picture's middle as has the aspect of a latent.

        Args:
            rgb_hwc: uint8 (H, W, 3), sRGB, of any size and aspect.
            latent_hw: cells of the latent, height and width.

        Returns:
            (c, h, w) float32, of about unit scale.
        """
        height, width = (cells * self._network.cell_px for cells in latent_hw)
        return self._network(middle(rgb_hwc, (height, width)).to(self.device))[0]


def middle(rgb_hwc: Rgb, hw: tuple[int, int]) -> Tensor:
    """Return as much of a picture's middle as has an aspect, scaled to a size.

    Args:
        rgb_hwc: uint8 (H, W, 3).
        hw: the size, height and width, and so the aspect.

    Returns:
        (1, 3, h, w) float32, 0 to 1, resized with bilinear filters that average where it shrinks.
    """
    height, width = rgb_hwc.shape[:2]
    scale = max(hw[0] / height, hw[1] / width)
    part_height, part_width = (
        min(side, max(1, round(wanted / scale)))
        for side, wanted in zip((height, width), hw, strict=True)
    )
    top, left = (height - part_height) // 2, (width - part_width) // 2
    # A copy: torch cannot express that an array is read-only.
    part_hwc = rgb_hwc[top : top + part_height, left : left + part_width].copy()
    rgb_bchw = torch.from_numpy(part_hwc).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(rgb_bchw, hw, mode="bilinear", antialias=True)
