"""Pages as files: screenshots, and a recording of many."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from tests.wire.screens import chromium
from tests.wire.screens.page import PHONE_PX, page

FILM_SIZE_PX = (440, 620)
_TALLEST_PX = 1800
_QUALITY = 88


def write_screen(path: Path, parts: Sequence[str], width_px: int, *, light: bool = False) -> None:
    """Draw a page as high as what is on it, at two dots per pixel, as WebP."""
    shown = page(parts, phone=width_px <= PHONE_PX, light=light)
    picture = chromium.trimmed(chromium.draw(shown, width_px, _TALLEST_PX, scale=2))
    picture.save(path, quality=_QUALITY, method=6)


def write_film(path: Path, frames: Sequence[tuple[Sequence[str], int]]) -> None:
    """Draw pages as a GIF that begins anew for ever; each is shown for some milliseconds."""

    def draw(parts: Sequence[str]) -> Image.Image:
        return chromium.draw(page(parts, phone=True, bottom=True), *FILM_SIZE_PX)

    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(draw, [parts for parts, _ in frames]))
    first, *others = map(_few_colours, drawn)
    durations_ms = [shown_ms for _, shown_ms in frames]
    first.save(
        path, save_all=True, append_images=others, duration=durations_ms, loop=0, optimize=True
    )


def _few_colours(picture: Image.Image) -> Image.Image:
    return picture.quantize(dither=Image.Dither.NONE)
