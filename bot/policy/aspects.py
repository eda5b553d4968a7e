"""The shapes that people choose from, named with the size that the model makes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from bot.service.models import ModelInfo
from bot.text.catalog import Translator
from bot.text.error_messages import UserError
from bot.text.markdown import escape, shorten

Aspect = Literal["square", "landscape", "portrait", "wide", "tall"]
ASPECTS: dict[Aspect, float] = {
    "square": 1.0,
    "landscape": 3 / 2,
    "portrait": 2 / 3,
    "wide": 16 / 9,
    "tall": 9 / 16,
}
"""Width over height."""
_RATIO_WEIGHT = 2.0
"""A wrong ratio counts twice as much as a wrong area."""
_RATIOS: dict[Aspect, str] = {
    "square": "1:1",
    "landscape": "3:2",
    "portrait": "2:3",
    "wide": "16:9",
    "tall": "9:16",
}
_GIVEN_CHARS = 40


def aspect_name(translate: Translator, aspect: Aspect, model: ModelInfo | None) -> str:
    """Return a shape's name: ``wide 16:9 (384×256)``, or without the size if ``model`` is None."""  # noqa: RUF002
    name = f"{translate(f'choice.{aspect}')} {_RATIOS[aspect]}"
    if model is None:
        return name
    width, height = size_of(aspect, model)
    return f"{name} ({width}×{height})"  # noqa: RUF001


def size_of(aspect: Aspect, model: ModelInfo) -> tuple[int, int]:
    """Return the (width, height) in pixels, allowed by the model, that come closest to a shape."""
    wanted, area = ASPECTS[aspect], model.width * model.height
    sides = range(model.min_side, model.max_side + 1, model.multiple_of)

    def distance(size: tuple[int, int]) -> float:
        width, height = size
        ratio = abs(math.log(width / height / wanted))
        return _RATIO_WEIGHT * ratio + abs(math.log(width * height / area))

    return min(((width, height) for width in sides for height in sides), key=distance)


def aspects_to_choose(model: ModelInfo | None) -> Iterator[Aspect]:
    """Yield the shapes that differ in size; a small model makes one size of several shapes."""
    sizes = set()
    for aspect in ASPECTS:
        size = aspect if model is None else size_of(aspect, model)
        if size not in sizes:
            sizes.add(size)
            yield aspect


def parse_aspect(translate: Translator, option: str, given: str | None) -> Aspect | None:
    """Return the shape that was chosen, or typed by its name or ratio; None if none was given.

    Args:
        translate: translates into the person's language.
        option: the option's name in that language.
        given: the option's value.

    Raises:
        UserError: there is no such shape.
    """
    if given is None:
        return None
    words = given.casefold().split()
    for aspect in ASPECTS:
        if words and words[0] in (
            aspect,
            translate(f"choice.{aspect}").casefold(),
            _RATIOS[aspect],
        ):
            return aspect
    raise UserError.because(
        "option_choice",
        option=option,
        given=escape(shorten(given, _GIVEN_CHARS)),
        choices=", ".join(translate(f"choice.{aspect}") for aspect in ASPECTS),
    )
