"""Pictures of any size and aspect become latents of the size that an image needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.conditioning.image_to_latent import ImageToLatent, middle
from cascade_core.conditioning.latent_encoder import LatentEncoder

CPU = torch.device("cpu")


class SeenSizes(torch.nn.Module):
    """An encoder that remembers what it was given, and answers cell means."""

    latent_channels = 3
    device = CPU

    def __init__(self, cell_px: int) -> None:
        super().__init__()
        self.cell_px = cell_px
        self.seen: list[torch.Tensor] = []

    def forward(self, rgb_bchw: torch.Tensor) -> torch.Tensor:
        self.seen.append(rgb_bchw)
        return torch.nn.functional.avg_pool2d(rgb_bchw, self.cell_px)


def noise(height: int, width: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def stripes(height: int, width: int) -> Any:
    """Five vertical stripes; the value of each is its number."""
    columns = np.arange(width) * 5 // width
    return np.broadcast_to(columns[None, :, None], (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("cell_px", "latent_hw", "seen_hw"),
    [
        (32, (24, 24), (768, 768)),
        (32, (24, 36), (768, 1152)),
        (16, (6, 6), (96, 96)),
        (16, (12, 6), (192, 96)),
    ],
)
def test_the_network_sees_whole_cells(
    cell_px: int, latent_hw: tuple[int, int], seen_hw: tuple[int, int]
) -> None:
    network = SeenSizes(cell_px)

    latent = ImageToLatent(network).encode(noise(300, 500), latent_hw)

    assert network.seen[0].shape == (1, 3, *seen_hw)
    assert latent.shape == (3, *latent_hw)
    assert latent.dtype == torch.float32


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (33, 1000), (31, 33)])
def test_every_size_gives_a_picture_within_range(size: tuple[int, int]) -> None:
    rgb_bchw = middle(noise(*size), (96, 64))

    assert rgb_bchw.shape == (1, 3, 96, 64)
    assert float(rgb_bchw.min()) >= 0
    assert float(rgb_bchw.max()) <= 1


def test_a_wide_picture_loses_its_sides_and_is_not_squeezed() -> None:
    rgb_bchw = middle(stripes(100, 500), (96, 96))

    values = rgb_bchw[0, 0, 48] * 255
    torch.testing.assert_close(values, torch.full((96,), 2.0))


def test_a_tall_picture_loses_its_top_and_bottom() -> None:
    rgb_bchw = middle(stripes(100, 500).transpose(1, 0, 2), (64, 64))

    torch.testing.assert_close(rgb_bchw[0, 0, :, 10] * 255, torch.full((64,), 2.0))


def test_a_picture_of_the_size_stays_as_it_is() -> None:
    pixels_hwc = noise(96, 64)

    rgb_bchw = middle(pixels_hwc, (96, 64))

    np.testing.assert_array_equal(
        (rgb_bchw[0] * 255).round().numpy().transpose(1, 2, 0), pixels_hwc
    )


def test_shrinking_averages_as_pillows_bilinear_filter_does() -> None:
    """Without antialiasing, noise would keep its contrast."""
    pixels_hwc = noise(768, 768)
    expected = Image.fromarray(pixels_hwc).resize((96, 96), Image.Resampling.BILINEAR)

    shrunk = middle(pixels_hwc, (96, 96))[0].permute(1, 2, 0).numpy() * 255

    assert np.abs(shrunk - np.asarray(expected)).max() < 1.01
    assert shrunk.std() < pixels_hwc.std() / 4


def test_the_demo_model_encodes_as_its_recipe_does() -> None:
    checkpoint = open_checkpoint(ModelSource())
    trained = LatentEncoder.from_pretrained(checkpoint.picture_encoder).eval()
    pixels_hwc = noise(256, 384)
    pictures_bchw = torch.from_numpy(pixels_hwc).permute(2, 0, 1)[None].float() / 255

    latent = ImageToLatent.load(checkpoint, CPU).encode(pixels_hwc, (6, 9))

    torch.testing.assert_close(latent, trained.encode(pictures_bchw)[0])
