"""What picture files may be uploaded; light, for clients that check before they send."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

MAX_UPLOAD_BYTES: Final = 16 * 1024 * 1024
MIN_UPLOAD_SIDE_PX, MAX_UPLOAD_SIDE_PX = 32, 16_384
MAX_UPLOAD_PIXELS: Final = 50_000_000
"""Photos of 48 megapixels pass."""
MAX_TRANSPARENT_PIXELS: Final = 25_000_000
"""Of a picture with transparency: Pillow needs 4 bytes for a pixel, several times while it
composites."""
UPLOAD_FORMATS: Final = MappingProxyType(
    {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
)
"""Pillow's name of each format, and its media type."""
