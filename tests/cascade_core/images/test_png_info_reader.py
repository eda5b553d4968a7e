from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.errors import InvalidRequest
from cascade_core.handoff import ModelRef
from cascade_core.images.image_files import ImageInfo, encode_image
from cascade_core.images.png_info_reader import MAX_CHUNKS, MAX_TEXT_BYTES, read_png_info
from cascade_core.request import GenerationRequest

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = np.zeros((8, 8, 3), np.uint8)


def info(prompt: str = "a red circle") -> ImageInfo:
    request = GenerationRequest(prompt=prompt, width=256, height=256, seed=1, decoder_seed=1)
    return ImageInfo("IMG", "LAT", request, ModelRef("demo", "r1", "f1"))


def chunk(name: bytes, data: bytes = b"") -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I4s", len(data), name) + data + checksum.to_bytes(4, "big")


def png(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    return SIGNATURE + header + b"".join(chunks) + chunk(b"IEND")


def text(value: object, key: bytes = b"cascade") -> bytes:
    return chunk(b"tEXt", key + b"\0" + json.dumps(value).encode())


OURS = text({"v": 1, "latent_id": "LAT"})


@pytest.mark.parametrize(
    "prompt", ["a red circle", "ein Frosch \N{FROG FACE}", "\N{FROG FACE}" * 2000]
)
def test_what_an_image_of_ours_says_is_read(prompt: str) -> None:
    written = info(prompt)
    data = encode_image(PIXELS, "png", written)
    assert read_png_info(io.BytesIO(data)) == written.to_dict()


@pytest.mark.parametrize(
    "data",
    [
        encode_image(PIXELS, "png", None),
        png(text({"v": 1}, b"parameters")),
        png(text({"v": 2, "latent_id": "LAT"})),
        png(text(["v"])),
        png(chunk(b"tEXt", b"cascade\0{")),
        png(chunk(b"tEXt", b"cascade")),
        png(chunk(b"tEXt", b"cascade\0" + b"[" * 50_000)),
        png(chunk(b"iTXt", b"cascade\0\1\0\0\0" + zlib.compress(b'{"v": 1}'))),
        png(chunk(b"zTXt", b"cascade\0\0" + zlib.compress(b'{"v": 1}'))),
        png(text({"v": 1, "x": "x" * MAX_TEXT_BYTES})),
    ],
)
def test_a_sound_png_without_our_info_has_none(data: bytes) -> None:
    assert read_png_info(io.BytesIO(data)) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "must be a PNG"),
        (b"GIF89a" + b"\0" * 100, "must be a PNG"),
        (b"%PDF-1.7\n" + png(OURS), "must be a PNG"),
        (encode_image(PIXELS, "jpeg", info()), "must be a PNG"),
        (encode_image(PIXELS, "webp", info()), "must be a PNG"),
        (png(OURS)[:-5], "cut short"),
        (png(OURS)[:40], "cut short"),
        (png()[:-12] + b"\xff\xff\xff\xfftEXtcascade\0", "cut short"),
        (SIGNATURE + OURS + chunk(b"IEND"), "header"),
        (png(chunk(b"IHDR", bytes(13)), OURS), "header"),
        (png(OURS).replace(b"LAT", b"BAT"), "checksum"),
        (png(OURS) + b"PK\x03\x04 a zip file behind it", "after its end"),
        (png(*[chunk(b"tIME")] * MAX_CHUNKS), "chunks"),
    ],
)
def test_what_is_no_sound_png_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        read_png_info(io.BytesIO(data))
    assert caught.value.field == "image"


def test_the_pixels_are_never_unpacked_and_large_chunks_never_held() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    big = chunk(b"IDAT", bytes(20_000_000))
    file = io.BytesIO(png(chunk(b"IDAT", bomb), big, OURS))
    tracemalloc.start()
    assert read_png_info(file) == {"v": 1, "latent_id": "LAT"}
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


@given(st.binary(max_size=300), st.booleans())
def test_whatever_the_bytes_are_the_answer_is_info_or_a_refusal(data: bytes, is_png: bool) -> None:
    with suppress(InvalidRequest):
        read_png_info(io.BytesIO(SIGNATURE + data if is_png else data))
