"""The default checker: a file of words and phrases that no prompt may hold.

One rule a line, in UTF-8: a word, a phrase, or ``name: phrase``; several rules may share a name,
and one without is called by its line. Empty lines and those that begin with ``#`` are left out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cascade_core.errors import SettingsInvalid
from cascade_core.request import GenerationRequest
from serve.checker import Refusal
from serve.records import JobOwner

MIN_DISGUISED_CHARS = 3
"""Shorter rules are not looked for behind digits: ``3d`` would be a disguised ``ed``."""

_INVISIBLE_CATEGORIES = {"Cf", "Cc", "Mn", "Me"}
_INVISIBLE_LETTERS = "\u115f\u1160"
# Letters that are drawn like those of the Latin alphabet below them, in lower case or in capitals.
_LOOK_ALIKES = str.maketrans(
    "авекмнорстухѕіјԁԛԝһӏαβεζηικμνορτυχıłøđ",
    "abekmhopctyxsijdqwhlabezhikmvoptyxilod",
)
_DISGUISES = str.maketrans("013457@$", "oieastas")
# Scripts without spaces between words: each of their characters counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class _Rule:
    """Its words as in :func:`_words`; ``undisguised`` is empty if it is not looked for so."""

    name: str
    words: str
    undisguised: str


class Blocklist:
    """Refuses prompts and negative prompts that hold a word or phrase of a file.

    A phrase is found where its words stand as whole words, in its order, whatever is between them
    that is neither letter nor digit: ``red cat`` in ``Red-CAT!`` but not in ``red cats``. Capitals,
    accents, width and style of letters, and characters that are not seen make no difference, nor do
    some letters of other alphabets that look like Latin ones, nor the digits and signs ``013457@$``
    in place of ``oieastas`` (for rules of three characters or more). Scripts that put no spaces
    between words have no borders of words: there a phrase is found anywhere.

    Not found: other forms of a word, misspellings, doubled letters, a word with spaces or signs
    between its letters or glued to others, other look-alikes, translations.

    The file is read again when it has changed. While it cannot be read, every check raises.

    Args:
        path: of the file.

    Raises:
        SettingsInvalid: it cannot be read, or a line is no rule; says which.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rules: tuple[_Rule, ...] = ()
        self._version: tuple[int, ...] = ()
        self._read_if_changed()

    def __len__(self) -> int:
        """Return the number of rules."""
        return len(self._rules)

    def check_prompt(self, request: GenerationRequest, owner: JobOwner) -> Refusal | None:
        """Return the first rule that a text of the request breaks; owners make no difference."""
        fields: tuple[Literal["prompt", "negative_prompt"], ...] = ("prompt", "negative_prompt")
        rules = self._read_if_changed()
        for field in fields:
            text = _folded(getattr(request, field))
            words, undisguised = _words(text), _words(text.translate(_DISGUISES))
            for rule in rules:
                if rule.words in words or (rule.undisguised and rule.undisguised in undisguised):
                    return Refusal(rule.name, field)
        return None

    def _read_if_changed(self) -> tuple[_Rule, ...]:
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            if version == self._version:
                return self._rules
            lines = self._path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            message = f"CASCADE_BLOCKLIST: {self._path} cannot be read as UTF-8 text"
            raise SettingsInvalid(message) from error
        rules = tuple(
            _rule(number, line)
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.lstrip().startswith("#")
        )
        self._rules, self._version = rules, version
        return rules


def _rule(number: int, line: str) -> _Rule:
    """Build a rule from a line.

    Raises:
        SettingsInvalid: it has no letter or digit to look for, or an impossible name.
    """
    head, colon, tail = line.partition(":")
    name, phrase = (head.strip(), tail) if colon else ("", head)
    name = name or f"line {number}"
    folded = _folded(phrase)
    words = _words(folded)
    try:
        Refusal(name)
    except ValueError as error:
        raise SettingsInvalid(f"CASCADE_BLOCKLIST: line {number}: {error}") from error
    if not words.strip():
        message = f"CASCADE_BLOCKLIST: line {number} has no letter or digit to look for"
        raise SettingsInvalid(message)
    undisguised = _words(folded.translate(_DISGUISES))
    is_long = len(undisguised.strip()) >= MIN_DISGUISED_CHARS
    return _Rule(name, words, undisguised if is_long else "")


def _folded(text: str) -> str:
    """Return a text without capitals, accents, styles, look-alikes and what is not seen."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(filter(_is_seen, plain)).translate(_LOOK_ALIKES)


def _is_seen(char: str) -> bool:
    if char in _INVISIBLE_LETTERS:
        return False
    return char.isspace() or unicodedata.category(char) not in _INVISIBLE_CATEGORIES


def _words(text: str) -> str:
    """Return a text's words with a space around each."""
    return f" {' '.join(_WORD.findall(text))} "
