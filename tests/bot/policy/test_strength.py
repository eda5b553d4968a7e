"""The strengths that people type."""

from __future__ import annotations

import pytest

from bot.policy.strength import parse_strength
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import UserError, error_message


@pytest.mark.parametrize(
    ("language", "given", "strength"),
    [
        ("en", None, None),
        ("en", "  ", None),
        ("en", "Strong", "strong"),
        ("de", " stark ", "strong"),
        ("de", "subtle", "subtle"),
        ("fr", "LÉGÈRE", "subtle"),
        ("en", "0.6", 0.6),
        ("de", "0,6", 0.6),
        ("en", "1", 1.0),
        ("en", "0", 0.0),
    ],
)
def test_a_strength_is_a_number_or_a_word_in_the_persons_language(
    catalog: Catalog, language: str, given: str | None, strength: float | str | None
) -> None:
    assert parse_strength(Translator(catalog, language), given) == strength


@pytest.mark.parametrize("given", ["weak", "1.1", "-0.1", "nan", "inf", "60%", "*a*"])
@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_another_text_is_refused_with_what_there_is(
    catalog: Catalog, language: str, given: str
) -> None:
    translate = Translator(catalog, language)
    with pytest.raises(UserError) as caught:
        parse_strength(translate, given)
    told = error_message(caught.value, translate, "")
    assert translate("button.subtle") in told
    assert "*a*" not in told
