"""Decodes uploaded picture files, which are not trusted, to RGB pixels.

Nothing but pixels is kept: no name, no EXIF, no text, no place where a photo was taken. What other
parts of the service see, a content checker and the model, is what was decoded here.

- Bytes, sides, pixels and scans are checked before anything is decoded.
- Of an animation, and of a JPEG file with several pictures, the first picture counts.
- EXIF's orientation is applied; damaged EXIF data counts as none.
- What is transparent shows white. Of 16 bits the upper 8 are used.
- A colour profile is converted to sRGB. One that is damaged, too large or for another kind of
  pixels is ignored, but a PNG file is refused if its profile or text unpacks to more than 1 MiB.
- A picture that is larger than any output needs is made smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from cascade_core.errors import CascadeError, InvalidRequest
from cascade_core.images.pixels import Rgb
from cascade_core.images.upload_limits import (
    MAX_TRANSPARENT_PIXELS,
    MAX_UPLOAD_BYTES,
    MAX_UPLOAD_PIXELS,
    MAX_UPLOAD_SIDE_PX,
    MIN_UPLOAD_SIDE_PX,
    UPLOAD_FORMATS,
)
from cascade_core.operations.fields import MAX_SIDE_PX

MAX_KEPT_SIDE_PX: Final = 8192
"""Of the longer side. The shorter side needs no more pixels than the largest output has."""

_JPEG_START, _JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
_MAX_SCANS = 100
"""Cameras write 1, progressive files about 10. Each of thousands may cost the time of a whole
decoding and take a few bytes."""
_MAX_SCANNED_PIXELS = 1_000_000_000
"""Pixels times scans, which decoding takes time for: 20 scans of the largest picture."""
_MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""Printers' profiles have 0.5 to 3 MB."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture is turned upright, by EXIF's orientation (EXIF 2.32, 4.6.4 A)."""


def decode_upload(data: bytes) -> Rgb:
    """Decode an untrusted picture file.

    Args:
        data: a whole PNG, JPEG or WebP file.

    Returns:
        uint8 (height, width, 3), sRGB, upright.

    Raises:
        InvalidRequest: another or a damaged file, or one that is too large or too small.
    """
    with _opened(data) as image:
        # JPEG alone can be decoded at a half, a quarter or an eighth of its size.
        image.draft(None, (MAX_SIDE_PX, MAX_SIDE_PX))
        image.load()
        return np.asarray(_upright(_in_srgb(image), _orientation(image)))


def check_upload(data: bytes) -> None:
    """Check what `decode_upload` does before it decodes anything; raises as that."""
    with _opened(data):
        pass


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open a file that may be decoded; an exception in the block is reported as a damaged file."""
    if len(data) > MAX_UPLOAD_BYTES:
        raise _invalid(f"the file must be at most {MAX_UPLOAD_BYTES} bytes")
    scans = data.count(_JPEG_SCAN) if data.startswith(_JPEG_START) else 0
    if scans > _MAX_SCANS:
        raise _invalid(f"a JPEG file must have at most {_MAX_SCANS} scans")
    try:
        with Image.open(BytesIO(data), formats=tuple(UPLOAD_FORMATS)) as image:
            _check_size(image, scans)
            yield image
    except CascadeError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels() from error
    # Pillow's readers raise SyntaxError, struct.error, IndexError and more on damaged files.
    except Exception as error:
        raise _invalid("the file must be a sound PNG, JPEG or WebP picture") from error


def _check_size(image: Image.Image, scans: int) -> None:
    width, height = image.size
    sides = sorted((width, height))
    if sides[0] < MIN_UPLOAD_SIDE_PX or sides[1] > MAX_UPLOAD_SIDE_PX:
        raise _invalid(
            f"both sides of the picture must have {MIN_UPLOAD_SIDE_PX} to {MAX_UPLOAD_SIDE_PX} px, "
            f"got {width}x{height}"
        )
    if width * height > MAX_UPLOAD_PIXELS:
        raise _too_many_pixels()
    if image.has_transparency_data and width * height > MAX_TRANSPARENT_PIXELS:
        raise _invalid(
            f"a picture with transparency must have at most {MAX_TRANSPARENT_PIXELS} pixels"
        )
    if width * height * scans > _MAX_SCANNED_PIXELS:
        most = _MAX_SCANNED_PIXELS // (width * height)
        raise _invalid(f"a JPEG file of this size must have at most {most} scans, got {scans}")


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the picture as RGB in sRGB, not larger than any output needs."""
    profile, opaque = image.info.get("icc_profile"), _opaque(image)
    shorter, longer = sorted(opaque.size)
    scale = min(MAX_SIDE_PX / shorter, MAX_KEPT_SIDE_PX / longer)
    if scale < 1:
        sides = [max(1, round(side * scale)) for side in opaque.size]
        opaque = opaque.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    if isinstance(profile, bytes) and 0 < len(profile) <= _MAX_PROFILE_BYTES:
        with suppress(Exception):  # profiles are foreign; without its own one a picture has sRGB
            return _converted(opaque, profile)
    return opaque.convert("RGB")


def _opaque(image: Image.Image) -> Image.Image:
    """Return the picture as L, RGB or CMYK; what is transparent shows white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    assert converted is not None  # not in place
    return converted


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # EXIF data is foreign, and Pillow's reader raises many kinds
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _too_many_pixels() -> InvalidRequest:
    return _invalid(f"the picture must have at most {MAX_UPLOAD_PIXELS} pixels")


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, "file")
