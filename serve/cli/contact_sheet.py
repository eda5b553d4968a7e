"""A contact sheet: the pictures of one job in a grid, each with its label."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from cascade_core.images.marked_png import marked_png

CELL_PX: Final = 256
"""The longest side of a picture on the sheet."""
_LABEL_PX, _FONT_PX, _GAP_PX = 28, 16, 8
_MAX_LABEL_CHARS: Final = 100
"""More than fit below a picture, however narrow they are."""
_PAPER, _INK = "white", "black"


def contact_sheet(files: Sequence[Path], labels: Sequence[str]) -> bytes:
    """Return a PNG file with all pictures, row by row.

    Args:
        files: of the pictures; at least one.
        labels: of the pictures, without their numbers. One with letters that the font lacks is
            left out.
    """
    columns = ceil(sqrt(len(files)))
    rows = ceil(len(files) / columns)
    cell_px = CELL_PX + _GAP_PX
    size = (columns * cell_px + _GAP_PX, rows * (cell_px + _LABEL_PX) + _GAP_PX)
    sheet = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for number, (file, label) in enumerate(zip(files, labels, strict=True)):
        left = _GAP_PX + number % columns * cell_px
        top = _GAP_PX + number // columns * (cell_px + _LABEL_PX)
        with Image.open(file) as picture:
            small = picture.convert("RGB")
        small.thumbnail((CELL_PX, CELL_PX))
        sheet.paste(small, (left, top))
        text = fitting(f"{number + 1}  {drawable(label)}", font)
        draw.text((left, top + CELL_PX + _GAP_PX // 2), text, fill=_INK, font=font)
    return marked_png(sheet)


def drawable(label: str) -> str:
    """Return a label if Pillow's own font, which is for western languages, has its letters."""
    try:
        label.encode("latin-1")
    except UnicodeEncodeError:
        return ""
    return " ".join(label.split())


def fitting(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int = CELL_PX
) -> str:
    """Return the beginning of a text that is not wider than a picture, or than so many pixels."""
    text = text[:_MAX_LABEL_CHARS]
    while font.getlength(text) > width_px:
        text = text[:-1]
    return text
