import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.geometry import SIZE_MULTIPLE_PX, Geometry, have_one_aspect

MULTIPLES = range(SIZE_MULTIPLE_PX, 4096 + 1, SIZE_MULTIPLE_PX)
STABLE_CASCADE = Geometry()


def decoded_hw(height_px: int, width_px: int) -> tuple[int, int]:
    stage_c_hw = STABLE_CASCADE.stage_c_hw(height_px, width_px)
    height, width = STABLE_CASCADE.stage_b_hw(stage_c_hw)
    return height * STABLE_CASCADE.stage_a_factor, width * STABLE_CASCADE.stage_a_factor


@pytest.mark.parametrize("side_px", MULTIPLES)
def test_sides_that_are_multiples_of_128_come_out_exactly(side_px: int) -> None:
    stage_b_h, stage_b_w = STABLE_CASCADE.stage_b_hw(STABLE_CASCADE.stage_c_hw(side_px, 128))

    assert decoded_hw(side_px, 128) == (side_px, 128)
    assert stage_b_h % 2 == 0
    assert stage_b_w % 2 == 0


@pytest.mark.parametrize(("asked_px", "got_px"), [(832, 852), (1216, 1236), (1344, 1364)])
def test_known_other_sides_drift(asked_px: int, got_px: int) -> None:
    assert decoded_hw(asked_px, asked_px) == (got_px, got_px)


def test_1024_px_gives_the_published_latent_sizes() -> None:
    assert STABLE_CASCADE.stage_c_hw(1024, 1024) == (24, 24)
    assert STABLE_CASCADE.stage_b_hw((24, 24)) == (256, 256)


@given(st.sampled_from(MULTIPLES), st.sampled_from(MULTIPLES))
def test_height_comes_before_width(height_px: int, width_px: int) -> None:
    assert decoded_hw(height_px, width_px) == (height_px, width_px)


@pytest.mark.parametrize(
    ("size_px", "other_px", "expected"),
    [
        ((1536, 1536), (1024, 1024), True),
        ((1664, 1280), (1152, 896), True),  # 1.30 and 1.29: the nearest size of 1.5 times
        ((512, 768), (256, 384), True),
        ((384, 256), (256, 256), False),
        ((256, 384), (384, 256), False),
        ((1024, 1152), (1024, 1024), False),
    ],
)
def test_sizes_of_one_aspect_differ_by_less_than_half_a_cell(
    size_px: tuple[int, int], other_px: tuple[int, int], expected: bool
) -> None:
    assert have_one_aspect(size_px, other_px) is expected
