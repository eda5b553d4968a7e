"""Watermarks of pictures: the operator's watermarker, and what it is given and asked."""

from __future__ import annotations

import hashlib
import importlib
import logging

from cascade_core.errors import ProvenanceFailed, SettingsInvalid
from cascade_core.images.pixels import Rgb
from serve.provenance.statements import Watermark
from serve.settings import Settings
from serve.watermarker import PAYLOAD_BYTES, Watermarker

logger = logging.getLogger(__name__)


def load_watermarker(settings: Settings) -> Watermarker | None:
    """Return what the settings name; None: pictures get no watermark.

    Raises:
        SettingsInvalid: the factory failed, or what it makes is no watermarker.
    """
    path = settings.watermarker
    if not path:
        return None
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)()
    except Exception as error:  # the module is the operator's own
        message = f"CASCADE_WATERMARKER: {path} failed: {type(error).__name__}: {error}"
        raise SettingsInvalid(message) from error
    has_methods = all(callable(getattr(found, method, None)) for method in ("embed", "detect"))
    algorithm = getattr(found, "algorithm", None)
    if not (has_methods and isinstance(algorithm, str) and algorithm.isprintable() and algorithm):
        message = f"CASCADE_WATERMARKER: what {path} makes has no embed, detect or algorithm"
        raise SettingsInvalid(message)
    return found  # type: ignore[no-any-return]


def payload_of(image_id: str) -> bytes:
    """Return the payload that stands for an image; nothing about it can be read from that."""
    return hashlib.sha256(image_id.encode()).digest()[:PAYLOAD_BYTES]


def watermark_of(algorithm: str, image_id: str) -> Watermark | None:
    """Return an image's watermark as its manifest names it; None without an algorithm."""
    return Watermark(algorithm, payload_of(image_id).hex()) if algorithm else None


def watermarked(watermarker: Watermarker | None, pixels_hwc: Rgb, image_id: str) -> Rgb:
    """Return an image's pixels with its watermark, or as they are without a watermarker.

    Raises:
        ProvenanceFailed: it raised, or returned other than such pixels.
    """
    if watermarker is None:
        return pixels_hwc
    try:
        marked = watermarker.embed(pixels_hwc, payload_of(image_id))
        if (marked.shape, marked.dtype) != (pixels_hwc.shape, pixels_hwc.dtype):
            raise TypeError(f"it returned {marked.dtype} {marked.shape}")
    except Exception as error:  # the watermarker is the operator's own
        logger.exception("a picture could not be watermarked")
        message = "the picture could not be watermarked, so it is not kept"
        raise ProvenanceFailed(message) from error
    return marked


def payload_in(watermarker: Watermarker | None, pixels_hwc: Rgb) -> bytes | None:
    """Return the payload in a picture of any origin; None: none was found."""
    if watermarker is None:
        return None
    try:
        found = watermarker.detect(pixels_hwc)
    except Exception:  # the watermarker is the operator's own, the picture anyone's
        logger.exception("the watermarker failed to look at a picture")
        return None
    return found if isinstance(found, bytes) else None
