"""Writes pixels as a PNG file; ``python -m bench.engine.png`` compares it with Pillow.

Each row is written as its difference to the row above (PNG's filter "Up"), which numpy computes for
all rows at once. ISA-L compresses the result.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from cascade_core.images.pixels import Rgb
from cascade_core.images.png_info_reader import SIGNATURE

_RGB_8_BIT = (8, 2, 0, 0, 0)
"""Bits, colour type, and the standard's values for compression, filters and no interlacing."""
_UP = 2
_PIECE_BYTES = 64 * 1024
"""Pillow's own; libpng warns of a chunk that is longer than all pixels, as noise may become."""
_LEVEL = 1  # of 0 to 3; higher ones take more time for smaller files


def encode_png(pixels_hwc: Rgb, texts: Mapping[str, str]) -> bytes:
    """Return a PNG file that holds exactly these pixels.

    Args:
        pixels_hwc: uint8 (height, width, 3), sRGB, at least one pixel.
        texts: the text chunks, key to text, in the order of the file.
    """
    height, width, _ = pixels_hwc.shape
    data = isal_zlib.compress(_filtered(pixels_hwc), _LEVEL)
    pieces = (data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES))
    parts = [
        SIGNATURE,
        _chunk(b"IHDR", struct.pack(">II5B", width, height, *_RGB_8_BIT)),
        *(_text_chunk(key, text) for key, text in texts.items()),
        *(_chunk(b"IDAT", piece) for piece in pieces),
        _chunk(b"IEND", b""),
    ]
    return b"".join(parts)


def _filtered(pixels_hwc: Rgb) -> npt.NDArray[np.uint8]:
    """Return per row the filter's number, then the difference to the row above, modulo 256."""
    height, width, channels = pixels_hwc.shape
    rows = pixels_hwc.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _text_chunk(key: str, text: str) -> bytes:
    # tEXt where Latin-1 is enough, as AUTOMATIC1111 and Pillow write it.
    try:
        return _chunk(b"tEXt", key.encode() + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        # Not compressed, no language, no translated key.
        return _chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode())


def _chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(name))
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
