"""The figures of pictures, with known values."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from serve.cli.comparison_table import spread
from serve.cli.figures import difference, diversity, sharpness

FLAT = Image.new("RGB", (64, 64), (90, 90, 90))


def test_a_flat_picture_has_no_sharpness_and_a_blurred_one_less_than_its_original() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    sharp = Image.fromarray(noise)
    blurred = sharp.resize((16, 16)).resize((64, 64))
    assert sharpness(FLAT) == 0
    assert 0 < sharpness(blurred) < sharpness(sharp)


def test_a_step_of_brightness_has_the_sharpness_of_the_formula() -> None:
    pixels = np.zeros((6, 6, 3), np.uint8)
    pixels[:, 3:] = 100
    # Each of the 4x4 inner pixels: 0, 100, -100, 0 along a row.
    assert sharpness(Image.fromarray(pixels)) == pytest.approx(5000)


def test_equal_pictures_have_no_diversity_and_black_and_white_all_of_it() -> None:
    black, white = (Image.new("RGB", (64, 64), name) for name in ("black", "white"))
    assert diversity([FLAT, FLAT]) == 0
    assert diversity([black, white]) == pytest.approx(1)
    assert diversity([black, black, white]) == pytest.approx(2 / 3)
    assert diversity([FLAT]) is None


def test_the_difference_of_pictures_is_the_mean_of_255_and_of_other_sizes_none() -> None:
    assert difference(FLAT, Image.new("RGB", (64, 64), (93, 90, 90))) == pytest.approx(1)
    assert difference(FLAT, Image.new("RGB", (32, 64))) is None


def test_several_values_are_shown_by_their_median_and_ends() -> None:
    assert [spread(values, ".1f") for values in ([], [2.0], [1.0, 1.0], [1.0, 2.0, 4.0])] == [
        ("-", ""),
        ("2.0", ""),
        ("1.0", ""),
        ("2.0", "1.0-4.0"),
    ]


def test_the_usual_scorer_loads_no_torch() -> None:
    line = "import sys; import recipe.evaluation.scorer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line], check=False).returncode == 0
