"""The bot's sentences by language, from ``locale/*.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Self

FALLBACK = "en"
_ZERO_IS_SINGULAR = ("fr",)


class Catalog:
    """All sentences in all languages.

    Attributes:
        by_language: language -> key -> sentence; English has every key.
    """

    def __init__(self, by_language: Mapping[str, Mapping[str, str]]) -> None:
        self.by_language = by_language

    @classmethod
    def load(cls) -> Self:
        """Read the language files of this package."""
        folder = files("bot") / "locale"
        found = {
            item.name.removesuffix(".toml"): _flat(tomllib.loads(item.read_text("utf-8")))
            for item in folder.iterdir()
            if item.name.endswith(".toml")
        }
        return cls(found)

    def translation(self, key: str, locale: str) -> str | None:
        """Return a sentence in a locale's language; None if that language lacks it."""
        return self.by_language.get(_language(locale), {}).get(key)

    def translate(self, key: str, locale: str, **values: object) -> str:
        """Return a sentence in the language of a Discord locale, or else in English.

        The value ``count`` selects between the forms ``one`` and ``other`` of a sentence.

        Raises:
            KeyError: the key or a value is missing.
        """
        for language in (_language(locale), FALLBACK):
            sentences = self.by_language.get(language, {})
            form = _plural_form(language, values.get("count"))
            sentence = sentences.get(key) or sentences.get(f"{key}.{form}")
            if sentence is not None:
                return sentence.format(**values)
        raise KeyError(key)


class Translator:
    """Translates keys into sentences of one locale; instances are callable."""

    def __init__(self, catalog: Catalog, locale: str) -> None:
        self._catalog = catalog
        self.locale = locale

    def __call__(self, key: str, **values: object) -> str:
        """Return a sentence, see :meth:`Catalog.translate`."""
        return self._catalog.translate(key, self.locale, **values)

    def translate_or(self, key: str, default: str, **values: object) -> str:
        """Return a sentence, or ``default`` if not even English has it."""
        try:
            return self(key, **values)
        except KeyError:
            return default

    def find(self, key: str) -> str | None:
        """Return a sentence in the translator's language; None if that language lacks it."""
        return self._catalog.translation(key, self.locale)


def _language(locale: str) -> str:
    """Return a locale's language: ``de`` for ``de``, ``en`` for ``en-GB``."""
    return locale.partition("-")[0].lower()


def _plural_form(language: str, count: object) -> str:
    """Return the plural form for a number, by CLDR's rules for the bot's languages."""
    is_one = count == 1 or (count == 0 and language in _ZERO_IS_SINGULAR)
    return "one" if is_one else "other"


def _flat(tables: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in tables.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = str(value)
    return found
