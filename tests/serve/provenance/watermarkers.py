"""A watermarker as operators write them; it is imported by path, too."""

from __future__ import annotations

import numpy as np

from cascade_core.images.pixels import Rgb
from serve.watermarker import PAYLOAD_BYTES


class InLowestBits:
    """Writes the payload and its complement into the lowest bits of the first row's blue.

    Nothing but copies without losses keep such a mark.
    """

    algorithm = "org.example.lowest-bits"

    def embed(self, pixels_hwc: Rgb, payload: bytes) -> Rgb:
        assert len(payload) == PAYLOAD_BYTES
        bits = np.unpackbits(np.frombuffer(payload + _complement(payload), np.uint8))
        marked = pixels_hwc.copy()
        blue = marked.reshape(-1, 3)[: len(bits), 2]
        blue[:] = (blue & 0xFE) | bits
        return marked

    def detect(self, pixels_hwc: Rgb) -> bytes | None:
        bits = pixels_hwc.reshape(-1, 3)[: 16 * PAYLOAD_BYTES, 2] & 1
        found = np.packbits(bits).tobytes()
        payload, check = found[:PAYLOAD_BYTES], found[PAYLOAD_BYTES:]
        return payload if check == _complement(payload) else None


class Failing(InLowestBits):
    """Raises whatever it is asked."""

    def embed(self, pixels_hwc: Rgb, payload: bytes) -> Rgb:
        raise MemoryError

    detect = embed  # type: ignore[assignment]


class Shrinking(InLowestBits):
    """Returns another size."""

    def embed(self, pixels_hwc: Rgb, payload: bytes) -> Rgb:
        return pixels_hwc[::2]


def _complement(payload: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in payload)
