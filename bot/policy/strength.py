"""How far a picture may depart from the one that it starts from, as people type it."""

from __future__ import annotations

from typing import get_args

from bot.text.catalog import Translator
from bot.text.error_messages import UserError
from bot.text.markdown import escape, shorten
from cascade_core.model_defaults import StrengthWord
from cascade_core.operations.fields import MAX_STRENGTH, MIN_STRENGTH

STRENGTH_WORDS: tuple[StrengthWord, ...] = get_args(StrengthWord)
_GIVEN_CHARS = 40


def strength_name(translate: Translator, word: StrengthWord) -> str:
    """Return a word for a strength in the person's language."""
    return translate(f"button.{word}")


def parse_strength(translate: Translator, given: str | None) -> float | StrengthWord | None:
    """Return the strength in a text, a number or a word in any case; None if the text is blank.

    Raises:
        UserError: it is neither.
    """
    typed = (given or "").strip().casefold()
    if not typed:
        return None
    for word in STRENGTH_WORDS:
        if typed in (word, strength_name(translate, word).casefold()):
            return word
    try:
        number = float(typed.replace(",", "."))
    except ValueError:
        number = -1.0
    if not MIN_STRENGTH <= number <= MAX_STRENGTH:
        raise UserError.because(
            "no_strength",
            given=escape(shorten((given or "").strip(), _GIVEN_CHARS)),
            words=", ".join(strength_name(translate, word) for word in STRENGTH_WORDS),
        )
    return number
