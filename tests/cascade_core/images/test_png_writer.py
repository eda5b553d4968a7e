"""PNG files hold the pixels exactly and are what the standard and other encoders make of them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from cascade_core.images.png_writer import encode_png

TEXTS = {"parameters": "naïve\nline", "cascade": '{"prompt":"水彩画 \N{FROG FACE}"}'}


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        [length] = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        [checksum] = struct.unpack_from(">I", data, at + 8 + length)
        assert checksum == zlib.crc32(name + body)
        found.append((name, body))
        at += 12 + length
    return found


def pillow_file(pixels_hwc: Any, texts: dict[str, str]) -> bytes:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.fromarray(pixels_hwc).save(file, "PNG", pnginfo=info)
    return file.getvalue()


@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 9), st.booleans())
def test_every_size_decodes_to_the_same_pixels(
    height: int, width: int, seed: int, is_flat: bool
) -> None:
    pixels = noise(height, width, seed)
    if is_flat:
        pixels[:] = pixels[0, 0]
    image = opened(encode_png(pixels, {}))

    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), pixels)


def test_wide_and_tall_pictures_decode_to_the_same_pixels() -> None:
    for height, width in ((1, 4096), (4096, 1), (1536, 640)):
        pixels = noise(height, width)
        assert np.array_equal(np.asarray(opened(encode_png(pixels, {}))), pixels)


def test_the_pixels_are_one_zlib_stream_of_rows_with_a_filter_of_the_standard() -> None:
    pixels = noise(9, 13)
    data = dict(chunks_of(encode_png(pixels, {})))[b"IDAT"]
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(9, 1 + 3 * 13)

    assert set(rows[:, 0]) == {2}  # "Up": each byte minus the one above, modulo 256
    summed = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    assert np.array_equal(summed.reshape(9, 13, 3), pixels)


def test_all_chunks_but_the_pixels_are_those_that_pillow_writes() -> None:
    ours, pillows = (
        [chunk for chunk in chunks_of(data) if chunk[0] != b"IDAT"]
        for data in (encode_png(noise(8, 8), TEXTS), pillow_file(noise(8, 8), TEXTS))
    )

    assert ours == pillows
    assert [name for name, _ in ours] == [b"IHDR", b"tEXt", b"iTXt", b"IEND"]


def test_the_same_picture_gives_the_same_bytes() -> None:
    pixels = noise(64, 64)

    assert encode_png(pixels, TEXTS) == encode_png(pixels.copy(), TEXTS)


@pytest.mark.parametrize("step", [-1, 2])
def test_views_are_written_like_copies(step: int) -> None:
    view = noise(32, 32)[::step, ::step]

    assert encode_png(view, {}) == encode_png(np.ascontiguousarray(view), {})


def test_pixels_are_cut_into_chunks_of_64_kb() -> None:
    """Libpng warns of a chunk that is longer than all rows, and noise grows when compressed."""
    pixels = noise(64, 4096)
    pieces = [data for name, data in chunks_of(encode_png(pixels, {})) if name == b"IDAT"]

    assert sum(map(len, pieces)) > pixels.size
    assert max(map(len, pieces)) == 64 * 1024
    assert np.array_equal(np.asarray(opened(encode_png(pixels, {}))), pixels)
