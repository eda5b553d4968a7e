"""Copies of pictures for a place: of a size, cut or padded to it, within a number of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageFilter

from cascade_core.images.image_files import encode_like, read_pixels
from cascade_core.images.pixels import Rgb
from cascade_core.operations.fields import ImageFormat

Fit = Literal["crop", "pad", "blur", "inside"]
"""``crop`` cuts what is beyond; ``pad`` fills the rest with a colour, ``blur`` with the blurred
picture; ``inside`` fills nothing, so one side may be shorter."""
Change = Literal["cropped", "resized", "padded"]

MIN_SIDE_PX: Final = 16
MAX_SIDE_PX: Final = 4096
CENTRE: Final = (0.5, 0.5)
_QUALITY: Final = {"jpeg": 92, "webp": 90}
_LOWEST_QUALITY: Final = 40
_BLUR_PARTS: Final = 40
"""The blur's radius is this part of the longer side."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What a rendition is like.

    Attributes:
        name: for files and people, such as ``instagram-square``.
        width, height: in pixels, each from `MIN_SIDE_PX` to `MAX_SIDE_PX`.
        fit: how the picture comes to that size.
        image_format: of the file.
        max_bytes: of the file; None: no limit. PNG files cannot have one.
        background: of ``pad``: red, green, blue, each 0 to 255.
        file_name: template of the names of its files; empty: that of the export.
    """

    name: str
    width: int
    height: int
    fit: Fit = "crop"
    image_format: ImageFormat = "jpeg"
    max_bytes: int | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class Rendition:
    """A rendition's file.

    Attributes:
        width, height: of the file, in pixels.
        changes: what was done to the picture, in order.
        warnings: what the preset could not have, in sentences.
    """

    data: bytes
    width: int
    height: int
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


def render(
    data: bytes,
    preset: Preset,
    focal_point: tuple[float, float] = CENTRE,
    *,
    keeps_info: bool = True,
    reserved_bytes: int = 0,
) -> Rendition:
    """Return a picture as a preset wants it.

    Args:
        data: the picture's file.
        preset: what the rendition is like.
        focal_point: what a crop keeps: x and y from 0 at the top left to 1.
        keeps_info: write the texts of the file into the new one.
        reserved_bytes: of the preset's limit, for what is added to the file later.

    Raises:
        InvalidRequest: not a PNG, WebP or JPEG file, a damaged or too large file.
    """
    pixels_hwc = read_pixels(data)
    placed = _placed(Image.fromarray(pixels_hwc), preset, focal_point)
    warnings = [_enlarged(pixels_hwc, preset)] if _scale(pixels_hwc, preset) > 1 else []
    room = None if preset.max_bytes is None else preset.max_bytes - reserved_bytes
    made, is_small = _encoded(data, np.asarray(placed), preset, room, keeps_info=keeps_info)
    if not is_small:
        size_bytes = len(made) + reserved_bytes
        most = preset.max_bytes
        warnings.append(f"{preset.name} takes {most} bytes; this is the smallest: {size_bytes}")
    changes = _changes(pixels_hwc, preset)
    return Rendition(made, placed.width, placed.height, changes, tuple(warnings))


def _placed(picture: Image.Image, preset: Preset, focal_point: tuple[float, float]) -> Image.Image:
    size = preset.width, preset.height
    if preset.fit == "crop":
        box = _crop_box(picture.size, size, focal_point)
        return picture.resize(size, Image.Resampling.LANCZOS, box)
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.resize(inner, Image.Resampling.LANCZOS)
    if preset.fit == "inside":
        return small
    frame = Image.new("RGB", size, preset.background)
    if preset.fit == "blur":
        frame = picture.resize(size, Image.Resampling.BILINEAR, _crop_box(picture.size, size))
        frame = frame.filter(ImageFilter.BoxBlur(max(size) / _BLUR_PARTS))
    frame.paste(small, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return frame


def _crop_box(
    picture: tuple[int, int], wanted: tuple[int, int], focal_point: tuple[float, float] = CENTRE
) -> tuple[float, float, float, float]:
    """Return the largest part in a size's aspect, its middle as near to a point as the edges allow.

    Returns:
        Left, top, right and bottom, in pixels.
    """
    scale = min(picture[0] / wanted[0], picture[1] / wanted[1])
    sides = min(picture[0], wanted[0] * scale), min(picture[1], wanted[1] * scale)
    starts = [
        min(max(point * whole - side / 2, 0), whole - side)
        for point, whole, side in zip(focal_point, picture, sides, strict=True)
    ]
    return (starts[0], starts[1], starts[0] + sides[0], starts[1] + sides[1])


def _encoded(
    data: bytes, pixels_hwc: Rgb, preset: Preset, most_bytes: int | None, *, keeps_info: bool
) -> tuple[bytes, bool]:
    """Return a file of the highest quality that keeps to a number of bytes, and if it does."""

    def encoded(quality: int | None) -> bytes:
        given = data, pixels_hwc, preset.image_format, quality
        return encode_like(*given, keeps_info=keeps_info)

    best = encoded(None)
    if most_bytes is None or len(best) <= most_bytes:
        return best, True
    if preset.image_format not in _QUALITY:
        return best, False
    low, high = _LOWEST_QUALITY, _QUALITY[preset.image_format]
    best = encoded(low)
    if len(best) > most_bytes:
        return best, False
    while high - low > 1:
        middle = (low + high) // 2
        made = encoded(middle)
        if len(made) <= most_bytes:
            low, best = middle, made
        else:
            high = middle
    return best, True


def _scale(pixels_hwc: Rgb, preset: Preset) -> float:
    """Return how much larger than its original a picture is shown."""
    height, width = int(pixels_hwc.shape[0]), int(pixels_hwc.shape[1])
    scales = preset.width / width, preset.height / height
    return max(scales) if preset.fit == "crop" else min(scales)


def _enlarged(pixels_hwc: Rgb, preset: Preset) -> str:
    height, width, _ = pixels_hwc.shape
    return (
        f"{width}x{height} was enlarged {_scale(pixels_hwc, preset):.2g} times for "
        f"{preset.width}x{preset.height}"
    )


def _changes(pixels_hwc: Rgb, preset: Preset) -> tuple[Change, ...]:
    height, width, _ = pixels_hwc.shape
    is_other_aspect = width * preset.height != height * preset.width
    changes: list[Change] = []
    if is_other_aspect and preset.fit == "crop":
        changes.append("cropped")
    if _scale(pixels_hwc, preset) != 1:
        changes.append("resized")
    if is_other_aspect and preset.fit in ("pad", "blur"):
        changes.append("padded")
    return tuple(changes)
