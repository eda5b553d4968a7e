"""The interface of watermarkers, which ``CASCADE_WATERMARKER`` names."""

from __future__ import annotations

from typing import Final, Protocol

from cascade_core.images.pixels import Rgb

PAYLOAD_BYTES: Final = 8


class Watermarker(Protocol):
    """Puts an invisible mark into pixels, and finds it again.

    Each process that makes or verifies pictures makes its own. Methods are called in threads,
    several at a time.

    Attributes:
        algorithm: its name in manifests: one of C2PA's list of soft bindings, such as
            ``com.adobe.trustmark.P``, or one of your own under your domain, reversed.
    """

    algorithm: str

    def embed(self, pixels_hwc: Rgb, payload: bytes) -> Rgb:
        """Return a picture with a mark; if it raises, the picture is not kept.

        Args:
            pixels_hwc: uint8 (height, width, 3), sRGB; must stay as it is.
            payload: `PAYLOAD_BYTES` that stand for the picture.

        Returns:
            Pixels of the same shape and type.
        """
        ...

    def detect(self, pixels_hwc: Rgb) -> bytes | None:
        """Return the payload in a picture of any origin; None: it has no mark."""
        ...
