"""The bot's sentences in every language."""

from __future__ import annotations

import re

import pytest

from bot.text.catalog import Catalog

PLACEHOLDER = re.compile(r"(?<!{){(\w+)}(?!})")  # two braces are text


def test_every_language_says_everything_with_the_same_values(catalog: Catalog) -> None:
    assert len(catalog.by_language) >= 3
    english = catalog.by_language["en"]
    for language, told in catalog.by_language.items():
        # The commands' English is in the code.
        sentences = {key: words for key, words in told.items() if not key.startswith("command.")}
        assert sentences.keys() == english.keys(), language
        for key, words in sentences.items():
            assert set(PLACEHOLDER.findall(words)) == set(PLACEHOLDER.findall(english[key])), key


@pytest.mark.parametrize(
    ("locale", "count", "words"),
    [
        ("en-US", 1, "1 picture at"),
        ("en-US", 2, "2 pictures at"),
        ("en-US", 0, "0 pictures at"),
        ("ja", 1, "1 picture at"),
        ("de", 1, "1 Bild auf"),
        ("de", 0, "0 Bilder auf"),
        ("fr", 0, "0 image à"),
        ("fr", 1, "1 image à"),
        ("fr", 2, "2 images à"),
    ],
)
def test_numbers_have_their_plural_forms(
    catalog: Catalog, locale: str, count: int, words: str
) -> None:
    assert words in catalog.translate("user_error.too_many_images", locale, count=count)


def test_every_sentence_with_plural_forms_has_both(catalog: Catalog) -> None:
    for keys in catalog.by_language.values():
        forms = {key for key in keys if key.endswith((".one", ".other"))}
        stems = {key.rpartition(".")[0] for key in forms}
        assert forms == {f"{stem}.{form}" for stem in stems for form in ("one", "other")}
        assert not stems & keys.keys()


def test_an_unknown_language_is_answered_in_english(catalog: Catalog) -> None:
    assert (
        catalog.translate("button.cancel", "ja")
        == catalog.translate("button.cancel", "en-US")
        == "Cancel"
    )
    assert catalog.translate("button.cancel", "de") == "Abbrechen"
