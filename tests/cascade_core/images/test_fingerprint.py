from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cascade_core.errors import InvalidRequest
from cascade_core.images.fingerprint import FINGERPRINT_SIDE_PX, fingerprint_of
from cascade_core.images.image_files import convert_image, encode_image, encode_thumbnails
from cascade_core.images.image_files import read_pixels as pixels_of
from cascade_core.images.pixels import Rgb


def scene(seed: int) -> Rgb:
    """Return a soft picture, 512 x 384 px."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((512, 384), Image.Resampling.BICUBIC))


def fingerprint(pixels_hwc: Rgb) -> int:
    return fingerprint_of(encode_thumbnails(pixels_hwc, (FINGERPRINT_SIDE_PX,))[256])


def distance(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


def test_copies_of_a_picture_are_near_and_other_pictures_are_far() -> None:
    original = scene(1)
    file = encode_image(original, "png", None)
    known = fingerprint(original)
    assert -(2**63) <= known < 2**63
    copies = [
        pixels_of(convert_image(file, "jpeg", 40)),
        pixels_of(convert_image(file, "webp", 40, max_side_px=200)),
        (original * 0.8).astype(np.uint8),
    ]
    assert all(distance(known, fingerprint(copy)) <= 4 for copy in copies)
    assert all(distance(known, fingerprint(scene(seed))) > 16 for seed in range(2, 8))


def test_noise_on_an_even_surface_does_not_count() -> None:
    noise = np.random.default_rng(1).integers(98, 102, (256, 256, 3)).astype(np.uint8)
    assert fingerprint(noise) == fingerprint(np.full((256, 256, 3), 30, np.uint8)) == 0


def test_a_damaged_thumbnail_is_an_error() -> None:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    for data in (b"", b"RIFF", file.getvalue()):
        with pytest.raises(InvalidRequest):
            fingerprint_of(data)
