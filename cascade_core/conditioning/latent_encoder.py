"""Encodes a picture to its Stage C latent: the compressor that the demo model was trained with.

The recipe trains this module of diffusers. The service computes the same with
`cascade_core.models.latent_encoder`, which shares its layers.
"""

from __future__ import annotations

from typing import Final

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn
from torch.nn import functional

from cascade_core.models.latent_encoder import encoder_layers

THUMBNAIL_SCALE: Final = 3 / 8
"""Pixels of a thumbnail per pixel of the picture: a Stage C cell then covers 16 of them."""


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
        self.net = encoder_layers(widths, latent_channels)
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
