"""Writes pictures that are composed of others, such as sheets, as PNG files with the mark."""

from __future__ import annotations

from io import BytesIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cascade_core.images.ai_mark import PNG_KEY, AiMark


def marked_png(image: Image.Image) -> bytes:
    """Return a PNG file that says a model made it, without naming the model."""
    marks, file = PngInfo(), BytesIO()
    marks.add_itxt(PNG_KEY, AiMark().packet())
    image.save(file, "PNG", pnginfo=marks)
    return file.getvalue()
