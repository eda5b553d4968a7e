"""A sheet of a comparison: a column for each entry, a row for each prompt and seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from cascade_core.images.marked_png import marked_png
from serve.cli.comparison_run import entry_name
from serve.cli.contact_sheet import CELL_PX, drawable, fitting

MAX_ROWS: Final = 64
"""Of a sheet; later prompts are in the folder alone."""
_GAP_PX, _HEAD_PX, _FONT_PX = 8, 28, 16
_PAPER, _INK = "white", "black"


def comparison_sheet(result: Mapping[str, Any], folder: Path) -> bytes:
    """Return a PNG file with the pictures of a comparison side by side.

    Args:
        result: of the comparison.
        folder: with its pictures.
    """
    entries, n = result["entries"], result["n"]
    places = [(prompt, index) for prompt in range(len(result["prompts"])) for index in range(n)]
    places = places[:MAX_ROWS]
    cell_px, row_px = CELL_PX + _GAP_PX, CELL_PX + _GAP_PX + _HEAD_PX
    size = (len(entries) * cell_px + _GAP_PX, _HEAD_PX + len(places) * row_px + _GAP_PX)
    sheet = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for column, entry in enumerate(entries):
        title = fitting(drawable(entry_name(entry)), font)
        draw.text((_GAP_PX + column * cell_px, _GAP_PX), title, fill=_INK, font=font)
    files = {(one["prompt"], one["entry"]): one["files"] for one in result["results"]}
    for row, (prompt, index) in enumerate(places):
        top = _HEAD_PX + row * row_px
        label = drawable(result["prompts"][prompt]) + (f"  {index + 1}" if n > 1 else "")
        text = fitting(label, font, len(entries) * cell_px)
        draw.text((_GAP_PX, top + _GAP_PX // 2), text, fill=_INK, font=font)
        for column in range(len(entries)):
            made = files.get((prompt, column), [])
            if index < len(made):
                with Image.open(folder / made[index]) as picture:
                    small = picture.convert("RGB")
                small.thumbnail((CELL_PX, CELL_PX))
                sheet.paste(small, (_GAP_PX + column * cell_px, top + _HEAD_PX))
    return marked_png(sheet)
