"""Renditions of pictures: size, what a crop keeps, padding, bytes, marks."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cascade_core.images.ai_mark import SOURCE_TYPE
from cascade_core.images.image_files import encode_image, read_marks, read_pixels
from cascade_core.images.renditions import Fit, Preset, render
from cascade_core.operations.fields import ImageFormat

SIDES = st.integers(16, 200)
NOISE = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def file(width: int, height: int, dot: tuple[int, int] | None = None) -> bytes:
    """A black PNG file, perhaps with a white square around a point."""
    pixels_hwc = np.zeros((height, width, 3), np.uint8)
    if dot is not None:
        pixels_hwc[max(0, dot[1] - 2) : dot[1] + 3, max(0, dot[0] - 2) : dot[0] + 3] = 255
    return encode_image(pixels_hwc, "png", None)


@settings(max_examples=40, deadline=None)
@given(
    picture=st.tuples(SIDES, SIDES),
    wanted=st.tuples(SIDES, SIDES),
    fit=st.sampled_from(["crop", "pad", "blur", "inside"]),
)
def test_a_rendition_has_the_size_of_its_preset(
    picture: tuple[int, int], wanted: tuple[int, int], fit: Fit
) -> None:
    made = render(file(*picture), Preset("p", *wanted, fit=fit, image_format="png"))
    size = Image.open(BytesIO(made.data)).size
    assert size == (made.width, made.height)
    if fit == "inside":
        assert size[0] <= wanted[0]
        assert size[1] <= wanted[1]
        assert size[0] == wanted[0] or size[1] == wanted[1]
    else:
        assert size == wanted


@settings(max_examples=40, deadline=None)
@given(
    picture=st.tuples(st.integers(40, 200), st.integers(40, 200)),
    wanted=st.tuples(st.integers(40, 200), st.integers(40, 200)),
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_crop_keeps_its_focal_point(
    picture: tuple[int, int], wanted: tuple[int, int], part: tuple[float, float]
) -> None:
    dot = (int(part[0] * (picture[0] - 1)), int(part[1] * (picture[1] - 1)))
    made = render(file(*picture, dot), Preset("p", *wanted, image_format="png"), part)
    assert read_pixels(made.data).max() > 60


@pytest.mark.parametrize("fit", ["pad", "blur"])
def test_padding_keeps_the_whole_picture(fit: Fit) -> None:
    data = encode_image(np.full((50, 100, 3), 200, np.uint8), "png", None)
    preset = Preset("p", 100, 100, fit=fit, image_format="png", background=(1, 2, 3))
    made = render(data, preset)
    pixels_hwc = read_pixels(made.data)
    assert (pixels_hwc[25:75] == 200).all()
    assert (pixels_hwc[0, 0] == ([1, 2, 3] if fit == "pad" else [200] * 3)).all()
    assert made.changes == ("padded",)


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_a_file_keeps_to_its_bytes_at_the_highest_quality_that_does(
    image_format: ImageFormat,
) -> None:
    data = encode_image(NOISE, "png", None)
    free = render(data, Preset("p", 128, 96, image_format=image_format))
    most = len(free.data) * 2 // 3
    made = render(data, Preset("p", 128, 96, image_format=image_format, max_bytes=most))
    assert most * 0.9 < len(made.data) <= most
    assert read_marks(made.data).image_format == image_format
    assert not made.warnings
    tight = Preset("p", 128, 96, image_format=image_format, max_bytes=most)
    assert len(render(data, tight, reserved_bytes=1000).data) <= most - 1000


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_a_file_that_cannot_be_small_enough_is_told(image_format: ImageFormat) -> None:
    data = encode_image(NOISE, "png", None)
    made = render(data, Preset("p", 128, 96, image_format=image_format, max_bytes=100))
    (warning,) = made.warnings
    assert "p takes 100 bytes" in warning


def test_an_enlarged_picture_is_told_and_a_mark_stays() -> None:
    made = render(file(100, 50), Preset("p", 200, 200))
    assert made.changes == ("cropped", "resized")
    assert made.warnings == ("100x50 was enlarged 4 times for 200x200",)
    assert SOURCE_TYPE.encode() in made.data
    same = render(file(100, 50), Preset("p", 100, 50, image_format="png"))
    assert (same.changes, same.warnings) == ((), ())
