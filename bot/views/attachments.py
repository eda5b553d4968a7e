"""Pictures as files that Discord accepts, named after their prompts."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from cascade_core.images.ai_mark import AiMark
from cascade_core.images.marked_png import marked_png

MAX_REQUEST_BYTES = 24 * 1024 * 1024
"""Discord accepts 25 MiB per request, with the other fields of the form."""
_QUALITIES = (90, 75)
_SMALLEST_SIDE_PX = 256
_NAME_CHARS = 40
_ARTICLE = re.compile(r"(a|an|the)-(?=.)")
_NUMBER_GROUND = "#202024"
_THUMBNAIL_QUALITY = 80
_NO_MODEL = AiMark().packet().encode()


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file to attach.

    Attributes:
        is_original: the data are exactly the service's bytes.
    """

    name: str
    data: bytes
    is_original: bool


def picture_name(prompt: str, seed: int, decoder_seed: int) -> str:
    """Return a picture's file name without its extension, such as ``large-red-heart_s7``.

    The name is ASCII, because Discord changes other letters. It has the seed of the details only
    if that differs from the seed.
    """
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = _ARTICLE.sub("", re.sub(r"[^a-z0-9]+", "-", plain).strip("-"), count=1)
    if len(words) > _NAME_CHARS:
        words = words[: _NAME_CHARS + 1].rpartition("-")[0] or words[:_NAME_CHARS]
    details = "" if decoder_seed == seed else f"_d{decoder_seed}"
    return f"{words or 'picture'}_s{seed}{details}"


async def fitted(
    images: Sequence[tuple[str, bytes]], limit_bytes: int, shrink: int = 0
) -> list[PictureFile]:
    """Return files within Discord's limits: the originals, or WebP, or smaller WebP.

    Args:
        images: file names without extension, and PNG bytes.
        limit_bytes: size limit of one file.
        shrink: how often to halve the size; for files that Discord refused although they fit.
    """
    limit = min(limit_bytes, MAX_REQUEST_BYTES // max(1, len(images)))
    if shrink:
        limit = min(limit, max(len(data) for _, data in images)) >> shrink
    return [await asyncio.to_thread(fit, name, data, limit) for name, data in images]


def fit(name: str, data: bytes, limit_bytes: int) -> PictureFile:
    """Return a picture as a file of at most ``limit_bytes``, or the smallest that is possible."""
    if len(data) <= limit_bytes:
        return PictureFile(f"{name}.png", data, True)
    with Image.open(BytesIO(data)) as opened:
        image, mark = opened.convert("RGB"), opened.info.get("xmp") or _NO_MODEL
    while True:
        for quality in _QUALITIES:
            smaller = _webp(image, mark, quality=quality, method=2)
            if len(smaller) <= limit_bytes:
                return PictureFile(f"{name}.webp", smaller, False)
        if min(image.size) <= _SMALLEST_SIDE_PX:
            return PictureFile(f"{name}.webp", smaller, False)
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def unnamed(data: bytes) -> bytes:
    """Return a picture as PNG without what tells its model: that a model made it alone."""
    with Image.open(BytesIO(data)) as opened:
        return marked_png(opened.convert("RGB"))


def thumbnail(data: bytes, side_px: int) -> bytes:
    """Return a small WebP of a picture, its longer side at most ``side_px``."""
    with Image.open(BytesIO(data)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((side_px, side_px))
    return _webp(image, quality=_THUMBNAIL_QUALITY, method=2)


def numbered(data: bytes, number: int) -> bytes:
    """Return a picture as WebP with a number in its top left corner."""
    with Image.open(BytesIO(data)) as opened:
        image = opened.convert("RGB")
    side_px = max(16, image.height // 7)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, side_px, side_px), fill=_NUMBER_GROUND)
    font = ImageFont.load_default(side_px * 0.8)
    draw.text((side_px / 2, side_px / 2), str(number), "white", font, anchor="mm")
    return _webp(image, quality=90, method=2)


def _webp(image: Image.Image, mark: bytes = _NO_MODEL, **options: int) -> bytes:
    file = BytesIO()
    image.save(file, "WEBP", xmp=mark, **options)
    return file.getvalue()
