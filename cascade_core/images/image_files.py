"""Image files: pixels to bytes and back, with the request that made them written inside.

Every file says twice how to make it again: as the ``parameters`` text that AUTOMATIC1111 made
common, and as JSON of this service. PNG holds both as text chunks; JPEG and WebP hold them in EXIF,
the text as UserComment (where other programs look for it), the JSON as MakerNote. Every file, also
one without these texts, has the mark of `cascade_core.images.ai_mark`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any, cast

import numpy as np
from PIL import Image, PngImagePlugin

from cascade_core.errors import HandoffInvalid, InvalidRequest
from cascade_core.families.registry import UNNAMED
from cascade_core.families.spec import Family
from cascade_core.handoff import ModelRef
from cascade_core.images.ai_mark import PNG_KEY, AiMark, SourceMark, read_mark, read_source
from cascade_core.images.pixels import Rgb
from cascade_core.images.png_info_reader import INFO_KEY, INFO_VERSION, parse_info
from cascade_core.images.png_writer import encode_png
from cascade_core.operations.fields import ImageFormat
from cascade_core.request import GenerationRequest

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILE_SIDE_PX = 4096

_FORMATS = ("PNG", "WEBP", "JPEG")
_PARAMETERS_KEY = "parameters"
_EXIF_IFD, _USER_COMMENT, _MAKER_NOTE = 0x8769, 0x9286, 0x927C
_UNICODE_MARK = b"UNICODE\0"
_INFO_MARK = b"cascade\0"
_HASH_CHARS = 10
_TEXTS = ("prompt", "negative_prompt")
"""Of the request of one image."""
_FIELD_OF_SETTING = {
    "CFG scale": "guidance_scale",
    "Decoder steps": "decoder_steps",
    "Decoder CFG scale": "decoder_guidance_scale",
    "Decoder seed": "decoder_seed",
}

# WebP's method 4, the default, takes twice the time of 2 for 3 % of the size. JPEG has full chroma:
# drawn edges bleed without it.
_WEBP_OPTIONS: dict[str, Any] = {"quality": 90, "method": 2}
_JPEG_OPTIONS: dict[str, Any] = {"quality": 92, "subsampling": 0}
_PREVIEW_OPTIONS: dict[str, Any] = {"quality": 75, "method": 2}
# Beside each picture: method 1 takes three quarters of the time of 2.
_THUMBNAIL_OPTIONS: dict[str, Any] = {"quality": 75, "method": 1}
_NO_MODEL = AiMark()
_BARE_XMP = _NO_MODEL.packet().encode()


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The origin of a picture, as it is written into its file.

    Attributes:
        image_id, latent_id: as stored; ``latent_id`` is what "Vary details" starts from.
        request: the request of this one image.
        model: the weights that made it.
        family: of the model; it says which values of the request mean something.
        has_texts: the file holds the prompt and the negative prompt.
    """

    image_id: str
    latent_id: str
    request: GenerationRequest
    model: ModelRef
    family: Family = UNNAMED
    has_texts: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the form that :func:`read_info` reads."""
        source, request = self.request.derived_from(), self.request.to_dict()
        if not self.has_texts:
            request = {name: value for name, value in request.items() if name not in _TEXTS}
        info = {
            "v": INFO_VERSION,
            "image_id": self.image_id,
            "latent_id": self.latent_id,
            "request": request,
            "model": asdict(self.model),
        }
        return info if source is None else info | {"derived_from": source}


@dataclass(frozen=True, slots=True)
class _Texts:
    """The two texts of a file, empty where absent, and its mark."""

    parameters: str = ""
    info_json: str = ""
    mark: AiMark = _NO_MODEL


def encode_image(pixels_hwc: Rgb, image_format: ImageFormat, info: ImageInfo | None) -> bytes:
    """Encode a picture.

    Args:
        pixels_hwc: uint8 (height, width, 3), sRGB.
        image_format: of the file.
        info: written into the file; None for a bare picture.

    Raises:
        HandoffInvalid: the pixels have another shape or dtype.
    """
    _check_pixels(pixels_hwc)
    texts = _Texts()
    if info:
        info_json = json.dumps(info.to_dict(), ensure_ascii=False, separators=(",", ":"))
        mark = AiMark(info.model.id, info.model.revision)
        texts = _Texts(parameters_text(info), info_json, mark)
    return _encode(pixels_hwc, image_format, texts, {})


def encode_preview(pixels_hwc: Rgb) -> bytes:
    """Encode a preview as WebP, small rather than faithful; arguments like :func:`encode_image`."""
    _check_pixels(pixels_hwc)
    file = BytesIO()
    Image.fromarray(pixels_hwc).save(file, "WEBP", xmp=_BARE_XMP, **_PREVIEW_OPTIONS)
    return file.getvalue()


def encode_thumbnails(pixels_hwc: Rgb, sides_px: Iterable[int]) -> dict[int, bytes]:
    """Encode a picture small, as bare WebP files; a smaller picture keeps its size.

    Args:
        pixels_hwc: uint8 (height, width, 3), sRGB.
        sides_px: the longest sides of the thumbnails.

    Returns:
        The files by the longest side that was asked for.
    """
    files: dict[int, bytes] = {}
    picture, file = Image.fromarray(pixels_hwc), b""
    for side_px in sorted(sides_px, reverse=True):  # each is made of the larger one
        size = picture.size
        picture.thumbnail((side_px, side_px), reducing_gap=1.0)  # halves by means of 2 x 2 pixels
        if not file or picture.size != size:
            file = _small_webp(picture)
        files[side_px] = file
    return files


def read_pixels(data: bytes) -> Rgb:
    """Return the pixels of a file as uint8 (height, width, 3).

    Raises:
        InvalidRequest: not a PNG, WebP or JPEG file, a damaged or too large one.
    """
    with _opened(data) as image:
        return np.asarray(image.convert("RGB"))


def read_info(data: bytes) -> dict[str, Any] | None:
    """Return the :class:`ImageInfo` in a file as a dict, or None if this service did not make it.

    The values come from the file unchecked: check them before use.

    Raises:
        InvalidRequest: not a PNG, WebP or JPEG file, or too large a one.
    """
    return read_marks(data).info


def check_image(data: bytes, image_format: ImageFormat) -> None:
    """Check that a file begins as a picture of this format; its pixels are not decoded.

    Raises:
        InvalidRequest: another format, a damaged or too large file.
    """
    with _opened(data) as image:
        if image.format != image_format.upper():
            raise InvalidRequest(f"the image must be a {image_format.upper()} file", "image")


@dataclass(frozen=True, slots=True)
class FileMarks:
    """What a file says of itself, unchecked.

    Attributes:
        image_format: of the file.
        info: as `read_info`.
        source: what its XMP says of its source, of any program.
    """

    image_format: ImageFormat
    info: dict[str, Any] | None
    source: SourceMark | None


def read_marks(data: bytes) -> FileMarks:
    """Return what a file says of itself; raises as :func:`read_info`."""
    with _opened(data) as image:
        image_format = cast(ImageFormat, (image.format or "").lower())
        info, source = parse_info(_texts_of(image).info_json), read_source(_xmp_of(image))
    return FileMarks(image_format, info, source)


def convert_image(
    data: bytes,
    image_format: ImageFormat,
    quality: int | None = None,
    *,
    keeps_info: bool = True,
    max_side_px: int | None = None,
) -> bytes:
    """Return the picture in another format, with its texts.

    A file that has the format already is returned as it is, unless a quality or a size is given or
    its texts are not kept.

    Args:
        data: the file.
        image_format: to convert to.
        quality: 0 to 100, for WebP and JPEG.
        keeps_info: write the texts of this file into the new one.
        max_side_px: of a thumbnail, which is small rather than faithful; a smaller picture keeps
            its size.

    Raises:
        InvalidRequest: not a PNG, WebP or JPEG file, a damaged or too large one.
    """
    with _opened(data) as image:
        is_whole = quality is None and keeps_info and max_side_px is None
        if image.format == image_format.upper() and is_whole:
            return data
        options = {} if quality is None else {"quality": quality}
        texts = _texts_of(image)
        if not keeps_info:
            texts = _Texts(mark=texts.mark)
        picture = image.convert("RGB")
        if max_side_px is not None:
            picture.thumbnail((max_side_px, max_side_px))
            options = _THUMBNAIL_OPTIONS | options
        return _encode(np.asarray(picture), image_format, texts, options)


def encode_like(
    data: bytes,
    pixels_hwc: Rgb,
    image_format: ImageFormat,
    quality: int | None = None,
    *,
    keeps_info: bool = True,
) -> bytes:
    """Encode pixels that were made of a picture's, with its mark and perhaps its texts.

    Args:
        data: the picture's file.
        pixels_hwc: uint8 (height, width, 3), sRGB.
        image_format: of the new file.
        quality: 0 to 100, for WebP and JPEG.
        keeps_info: write the texts of the file into the new one.

    Raises:
        HandoffInvalid: the pixels have another shape or dtype.
        InvalidRequest: as :func:`convert_image`.
    """
    _check_pixels(pixels_hwc)
    with _opened(data) as image:
        texts = _texts_of(image)
    kept = texts if keeps_info else _Texts(mark=texts.mark)
    options = {} if quality is None else {"quality": quality}
    return _encode(pixels_hwc, image_format, kept, options)


def parameters_text(info: ImageInfo) -> str:
    """Return the text that AUTOMATIC1111's web UI and its forks read from image files.

    Source: ``create_infotext`` in modules/processing.py of stable-diffusion-webui 1.10.
    """
    request, model, lacks = info.request, info.model, info.family.lacks
    settings: dict[str, Any] = {
        "Steps": request.steps,
        "Sampler": info.family.sampler,
        "CFG scale": float(request.guidance_scale),
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model": _quoted(model.id),
        "Model hash": model.fingerprint[:_HASH_CHARS],
        "Decoder steps": request.decoder_steps,
        "Decoder CFG scale": float(request.decoder_guidance_scale),
        "Decoder seed": request.decoder_seed,
    }
    for name, field in _FIELD_OF_SETTING.items():
        if field in lacks:
            del settings[name]
    if not info.family.sampler:
        del settings["Sampler"]
    if request.strength is not None:
        settings["Denoising strength"] = float(request.strength)
    lines = [request.prompt] if info.has_texts else []
    if request.negative_prompt and info.has_texts:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items()))
    return "\n".join(lines)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if set(value) & set(',:\n"') else value


def _check_pixels(pixels_hwc: Rgb) -> None:
    if pixels_hwc.ndim != 3 or pixels_hwc.shape[2] != 3 or pixels_hwc.dtype.name != "uint8":
        found = f"{pixels_hwc.dtype} {pixels_hwc.shape}"
        raise HandoffInvalid(f"pixels must be uint8 (height, width, 3), got {found}")


def _encode(
    pixels_hwc: Rgb, image_format: ImageFormat, texts: _Texts, options: dict[str, Any]
) -> bytes:
    packet = texts.mark.packet()
    if image_format == "png":
        chunks = {_PARAMETERS_KEY: texts.parameters, INFO_KEY: texts.info_json, PNG_KEY: packet}
        return encode_png(pixels_hwc, {key: text for key, text in chunks.items() if text})
    file = BytesIO()
    image = Image.fromarray(pixels_hwc)
    inside = {"exif": _exif(texts), "xmp": packet.encode()}
    if image_format == "webp":
        image.save(file, "WEBP", **inside, **_WEBP_OPTIONS | options)
    else:
        image.save(file, "JPEG", **inside, **_JPEG_OPTIONS | options)
    return file.getvalue()


def _small_webp(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "WEBP", xmp=_BARE_XMP, **_THUMBNAIL_OPTIONS)
    return file.getvalue()


def _exif(texts: _Texts) -> bytes:
    exif = Image.Exif()
    fields = exif.get_ifd(_EXIF_IFD)
    if texts.parameters:
        fields[_USER_COMMENT] = _UNICODE_MARK + texts.parameters.encode("utf-16-be")
    if texts.info_json:
        fields[_MAKER_NOTE] = _INFO_MARK + texts.info_json.encode()
    return exif.tobytes() if fields else b""


def _texts_of(image: Image.Image) -> _Texts:
    if isinstance(image, PngImagePlugin.PngImageFile):
        parameters = str(image.info.get(_PARAMETERS_KEY, ""))
        info_json = str(image.info.get(INFO_KEY, ""))
    else:
        fields = image.getexif().get_ifd(_EXIF_IFD)
        parameters = _after(_UNICODE_MARK, fields.get(_USER_COMMENT), "utf-16-be")
        info_json = _after(_INFO_MARK, fields.get(_MAKER_NOTE), "utf-8")
    return _Texts(parameters, info_json, _mark_of(image, info_json))


def _mark_of(image: Image.Image, info_json: str) -> AiMark:
    """Return a file's mark; files of earlier releases have none, but name their model."""
    found = read_mark(_xmp_of(image))
    if found is not None:
        return found
    model = (parse_info(info_json) or {}).get("model")
    named = model if isinstance(model, dict) else {}
    return AiMark(str(named.get("id", "")), str(named.get("revision", "")))


def _xmp_of(image: Image.Image) -> str:
    packet = image.info.get("xmp", b"")
    return packet.decode(errors="replace") if isinstance(packet, bytes) else ""


def _after(mark: bytes, value: object, encoding: str) -> str:
    if not isinstance(value, bytes) or not value.startswith(mark):
        return ""
    return value.removeprefix(mark).decode(encoding, errors="replace")


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open a file of a client; an exception in the block is reported as a damaged file."""
    if len(data) > MAX_FILE_BYTES:
        raise InvalidRequest(f"the image file must be at most {MAX_FILE_BYTES} bytes", "image")
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            if max(image.size) > MAX_FILE_SIDE_PX:
                message = f"the image must be at most {MAX_FILE_SIDE_PX} px wide and high"
                raise InvalidRequest(message, "image")
            yield image
    except InvalidRequest:
        raise
    # Pillow's readers raise SyntaxError, struct.error, IndexError and more on damaged files.
    except Exception as error:
        message = "the image must be a sound PNG, WebP or JPEG file"
        raise InvalidRequest(message, "image") from error
