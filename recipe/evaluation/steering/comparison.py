"""Compares what was made with the picture that it was made from."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from PIL import Image

from recipe.evaluation.drawing import Picture
from recipe.evaluation.reading import overlap, read_picture
from recipe.evaluation.share import share
from recipe.evaluation.vary import high_pass

SHOWN: Final = ("background", "colour", "place", "shape")
PSNR_SIDE_PX: Final = 64


def figures(
    before: list[Picture], made: list[Picture], asked: list[dict[str, str]]
) -> dict[str, Any]:
    """Compare pictures, each with the one that it was made from.

    Args:
        before: uint8 (h, w, 3).
        made: uint8 of the same aspect; a larger one is read at the size of the one before.
        asked: attribute -> value that each must show.

    Returns:
        `mask_iou`; shares with their number of flags: `place` kept where nothing asks for another;
        `kept`, every attribute that nothing asks for; `right`, every attribute but the texture
        that something asks for; `detail`, the energy of fine detail a pixel over that before.
    """
    shrunk = [_shrunk(picture, old) for old, picture in zip(before, made, strict=True)]
    rows = [
        (read_picture(old), read_picture(new), wanted)
        for old, new, wanted in zip(before, shrunk, asked, strict=True)
    ]
    return {
        "pictures": len(rows),
        "mask_iou": round(float(np.mean([overlap(old.mask, new.mask) for old, new, _ in rows])), 4),
        "place": of(
            old.shown.get("place") == new.shown.get("place")
            for old, new, wanted in rows
            if "place" not in wanted
        ),
        "kept": of(
            old.shown.get(name) == new.shown.get(name)
            for old, new, wanted in rows
            for name in SHOWN
            if name not in wanted
        ),
        "right": of(
            new.shown.get(name) == wanted[name]
            for _, new, wanted in rows
            for name in SHOWN
            if name in wanted
        ),
        "detail": round(_detail(made) / _detail(before), 4),
    }


def of(flags: Iterable[bool]) -> dict[str, float]:
    """Share of true flags, and how many there are."""
    values = list(flags)
    return {"share": share(values), "of": len(values)}


def psnr_db(before: list[Picture], made: list[Picture]) -> float:
    """Peak signal to noise ratio in dB of pictures that are shrunk to 64 pixels a side."""
    side = PSNR_SIDE_PX
    old, new = (
        np.stack([_resized(picture, (side, side)) for picture in pictures]).astype(np.float32)
        for pictures in (before, made)
    )
    errors = np.square((old - new) / 255).mean()
    return round(-10 * float(np.log10(errors)), 2)


def _shrunk(picture: Picture, old: Picture) -> Picture:
    height, width = old.shape[:2]
    return picture if picture.shape == old.shape else _resized(picture, (width, height))


def _resized(picture: Picture, width_height: tuple[int, int]) -> Picture:
    return np.asarray(Image.fromarray(picture).resize(width_height, Image.Resampling.BOX))


def _detail(pictures: list[Picture]) -> float:
    return float(np.mean([np.square(high_pass(picture)).mean() for picture in pictures]))
