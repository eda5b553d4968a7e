"""The shapes that people choose from, named with the size that the model really makes."""

from __future__ import annotations

from collections.abc import Iterator

from bot.policy.job_request import ASPECTS, Aspect, size_of
from bot.service.models import ModelInfo
from bot.text.catalog import Translator
from bot.text.error_messages import UserError
from bot.text.markdown import escape, shorten

_RATIOS: dict[Aspect, str] = {
    "square": "1:1",
    "landscape": "3:2",
    "portrait": "2:3",
    "wide": "16:9",
    "tall": "9:16",
}
_GIVEN_CHARS = 40


def aspect_name(translate: Translator, aspect: Aspect, model: ModelInfo | None) -> str:
    """Return the name of a shape: ``wide 16:9 (384×256)``; no size where the model is unknown."""  # noqa: RUF002
    name = f"{translate(f'choice.{aspect}')} {_RATIOS[aspect]}"
    if model is None:
        return name
    width, height = size_of(aspect, model)
    return f"{name} ({width}×{height})"  # noqa: RUF001


def aspects_to_choose(model: ModelInfo | None) -> Iterator[Aspect]:
    """Yield the shapes that differ in size: a small model makes the same of some of them."""
    sizes = set()
    for aspect in ASPECTS:
        size = aspect if model is None else size_of(aspect, model)
        if size not in sizes:
            sizes.add(size)
            yield aspect


def parse_aspect(translate: Translator, option: str, given: str | None) -> Aspect | None:
    """Return the shape that was chosen, or typed by its name; None where nothing was.

    Args:
        translate: in the language of the person who chose.
        option: name of the option in that language.
        given: its value.

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
