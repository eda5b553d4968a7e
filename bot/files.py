"""Pictures as files that Discord takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

DEFAULT_LIMIT_BYTES = 10 * 1024 * 1024
MAX_REQUEST_BYTES = 24 * 1024 * 1024
"""Discord takes 25 MiB in all, the rest of the form included."""
_QUALITIES = (90, 75)
_SMALLEST_SIDE_PX = 256
_THUMBNAIL = {"quality": 80, "method": 2}


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file to attach.

    Attributes:
        is_original: the very bytes that the service has.
    """

    name: str
    data: bytes
    is_original: bool


async def fitted(
    images: Sequence[tuple[str, bytes]], limit_bytes: int, shrink: int = 0
) -> list[PictureFile]:
    """Return files no larger than Discord takes: the originals, or WebP, or smaller WebP.

    Args:
        images: names without their endings, and PNG bytes.
        limit_bytes: of one file.
        shrink: halve what they take so many times; for when Discord refused what should have fit.
    """
    limit = min(limit_bytes, MAX_REQUEST_BYTES // max(1, len(images)))
    if shrink:
        limit = min(limit, max(len(data) for _, data in images)) >> shrink
    return [await asyncio.to_thread(fit, name, data, limit) for name, data in images]


def fit(name: str, data: bytes, limit_bytes: int) -> PictureFile:
    """Return a picture as a file of at most so many bytes, or as small as it gets."""
    if len(data) <= limit_bytes:
        return PictureFile(f"{name}.png", data, True)
    with Image.open(BytesIO(data)) as opened:
        image = opened.convert("RGB")
    while True:
        for quality in _QUALITIES:
            smaller = _webp(image, quality=quality, method=2)
            if len(smaller) <= limit_bytes:
                return PictureFile(f"{name}.webp", smaller, False)
        if min(image.size) <= _SMALLEST_SIDE_PX:
            return PictureFile(f"{name}.webp", smaller, False)
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def thumbnail(data: bytes, side_px: int) -> bytes:
    """Return a small WebP of a picture, its longer side at most ``side_px``."""
    with Image.open(BytesIO(data)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((side_px, side_px))
    return _webp(image, **_THUMBNAIL)


def _webp(image: Image.Image, **options: int) -> bytes:
    file = BytesIO()
    image.save(file, "WEBP", **options)
    return file.getvalue()
