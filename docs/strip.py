"""Draws strips: labelled pictures in rows, on a light card that suits light and dark pages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from cascade_core.images.pixels import Rgb

SHOWN_PX: Final = 160
"""Side of a picture of the model's usual size."""
GAP_PX: Final = 12
ARROW_PX: Final = 22
TITLE_PX: Final = 30
LABEL_PX: Final = 25
CARD, INK, ARROW = "#f4f5f7", "#1f2328", "#59636e"
QUALITY: Final = 82


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture (h, w, 3) with the text under it; an arrow leads to it from the cell before."""

    pixels_hwc: Rgb
    label: str
    has_arrow: bool = False

    def size_px(self, scale: float) -> tuple[int, int]:
        """Return its width and height on the strip."""
        height, width = self.pixels_hwc.shape[:2]
        return round(width * scale), round(height * scale)


@dataclass(frozen=True, slots=True)
class Row:
    """Cells side by side under a title."""

    title: str
    cells: list[Cell]


def save_strip(rows: list[Row], path: Path, usual_px: int) -> None:
    """Write a strip as WebP; a picture with a side of `usual_px` is shown with `SHOWN_PX`."""
    scale = SHOWN_PX / usual_px
    width = max(_width_px(row, scale) for row in rows)
    heights = [_height_px(row, scale) for row in rows]
    strip = Image.new("RGB", (width, sum(heights) + GAP_PX), CARD)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        _draw_row(strip, row, top, scale)
        top += height
    path.parent.mkdir(exist_ok=True)
    strip.save(path, quality=QUALITY, method=6)


def _width_px(row: Row, scale: float) -> int:
    cells = sum(cell.size_px(scale)[0] + GAP_PX + _arrow_px(cell) for cell in row.cells)
    return GAP_PX + cells


def _height_px(row: Row, scale: float) -> int:
    return TITLE_PX + max(cell.size_px(scale)[1] for cell in row.cells) + LABEL_PX


def _arrow_px(cell: Cell) -> int:
    return ARROW_PX if cell.has_arrow else 0


def _draw_row(strip: Image.Image, row: Row, top: int, scale: float) -> None:
    draw = ImageDraw.Draw(strip)
    draw.text((GAP_PX, top + GAP_PX - 4), row.title, INK, ImageFont.load_default(16))
    left, shown_top = GAP_PX, top + TITLE_PX
    middle = shown_top + SHOWN_PX // 2
    for cell in row.cells:
        if cell.has_arrow:
            tip = left + ARROW_PX - GAP_PX
            draw.polygon([(left, middle - 9), (tip, middle), (left, middle + 9)], ARROW)
            left += ARROW_PX
        width, height = cell.size_px(scale)
        shown = Image.fromarray(cell.pixels_hwc).resize((width, height), Image.Resampling.LANCZOS)
        strip.paste(shown, (left, shown_top))
        below = (left + width // 2, shown_top + height + 4)
        draw.text(below, cell.label, INK, ImageFont.load_default(14), anchor="ma")
        left += width + GAP_PX
