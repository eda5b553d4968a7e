"""Contact sheets: pictures in a grid, each under its caption."""

import textwrap
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CAPTION_PX: Final = 43
CHARACTERS: Final = 30
SHOWN_PX: Final = 160


def save_sheet(
    pictures: list[NDArray[np.uint8]], captions: list[str], path: Path, columns: int = 6
) -> None:
    """Write pictures uint8 (h, w, 3) and their captions as one palette PNG."""
    rows = -(-len(pictures) // columns)
    cell_w, cell_h = SHOWN_PX + 4, SHOWN_PX + CAPTION_PX + 4
    sheet = Image.new("RGB", (columns * cell_w, rows * cell_h), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = number % columns * cell_w, number // columns * cell_h
        shown = Image.fromarray(picture)
        shown.thumbnail((SHOWN_PX, SHOWN_PX), Image.Resampling.LANCZOS)
        sheet.paste(shown, (left + 2, top + CAPTION_PX))
        lines = "\n".join(textwrap.wrap(caption, CHARACTERS)[:3])
        draw.multiline_text((left + 3, top + 1), lines, fill="black", spacing=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours keep a sheet of grainy pictures to a few hundred kilobytes.
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
