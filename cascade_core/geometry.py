"""Sizes of an image and its latents; only this module holds the scales 42.67, 10.67 and 4."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

SIZE_MULTIPLE_PX = 128
"""Images with other sides come out a few pixels off, or crash Stage B: its latent side
``int(10.67 * ceil(side / 42.67))`` is then odd, and PixelUnshuffle(2) needs an even one."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the three latents of one model relate in size.

    Attributes:
        resolution_multiple: pixels per Stage C cell (``resolution_multiple`` of the prior
            pipeline).
        latent_dim_scale: Stage B cells per Stage C cell (``latent_dim_scale`` of the decoder
            pipeline).
        stage_a_factor: pixels per Stage B cell (``up_down_scale_factor ** levels`` of Stage A).

    Source: ``prepare_latents`` of StableCascadePriorPipeline and StableCascadeDecoderPipeline,
    diffusers 0.42.1.
    """

    resolution_multiple: float = 42.67
    latent_dim_scale: float = 10.67
    stage_a_factor: int = 4

    def stage_c_hw(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Return the Stage C latent's (h, w) for an image of this size."""
        return ceil(height_px / self.resolution_multiple), ceil(width_px / self.resolution_multiple)

    def stage_b_hw(self, stage_c_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the Stage B latent's (h, w) for a Stage C latent of this (h, w)."""
        height, width = stage_c_hw
        return int(height * self.latent_dim_scale), int(width * self.latent_dim_scale)


def have_one_aspect(width_height_px: tuple[int, int], other_px: tuple[int, int]) -> bool:
    """Return True if two sizes differ in scale alone.

    Scaled to one area, their sides may differ by less than half a cell of the published model's
    Stage C latent: sides are multiples of 128 px, so few sizes have exactly one aspect.
    """
    (width, height), (other_width, other_height) = width_height_px, other_px
    scale = sqrt(width * height / (other_width * other_height))
    off_px = max(abs(width / scale - other_width), abs(height / scale - other_height))
    return off_px < Geometry().resolution_multiple / 2
