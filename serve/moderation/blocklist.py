"""The built-in checker: refuses prompts that hold a word or phrase of a file.

The file is UTF-8 text with one rule per line: a word, a phrase, or ``name: phrase``. Several rules
may share a name. A rule without a name is named after its line number. Empty lines and lines that
begin with ``#`` are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cascade_core.errors import SettingsInvalid
from cascade_core.request import GenerationRequest
from cascade_core.word_filter import WordFilter, is_phrase
from serve.checker import Refusal
from serve.storage.records import JobOwner

_Field = Literal["prompt", "negative_prompt"]
_FIELDS: tuple[_Field, ...] = ("prompt", "negative_prompt")


class Blocklist:
    """Refuses prompts and negative prompts that hold a word or phrase of a file.

    :mod:`cascade_core.word_filter` defines what counts as a match. The file is read again when it
    has changed. While it cannot be read, every check raises.

    Args:
        path: path of the file.

    Raises:
        SettingsInvalid: the file cannot be read, or a line is not a rule; the message says which.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rules: tuple[tuple[str, ...], WordFilter] = ((), WordFilter(()))
        self._version: tuple[int, ...] = ()
        self._read_if_changed()

    def __len__(self) -> int:
        """Return the number of rules."""
        return len(self._rules[0])

    def check_prompt(self, request: GenerationRequest, owner: JobOwner) -> Refusal | None:
        """Return the refusal by the first rule that a text breaks; the owner does not matter."""
        names, words = self._read_if_changed()
        for field in _FIELDS:
            number = words.first_in(getattr(request, field))
            if number is not None:
                return Refusal(names[number], field)
        return None

    def _read_if_changed(self) -> tuple[tuple[str, ...], WordFilter]:
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            if version == self._version:
                return self._rules
            lines = self._path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            message = f"CASCADE_BLOCKLIST: {self._path} cannot be read as UTF-8 text"
            raise SettingsInvalid(message) from error
        rules = [
            _rule(number, line)
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        names = tuple(name for name, _ in rules)
        self._rules = names, WordFilter([phrase for _, phrase in rules])
        self._version = version
        return self._rules


def _rule(number: int, line: str) -> tuple[str, str]:
    """Return a line's name and phrase.

    Raises:
        SettingsInvalid: the phrase has no letter or digit, or the name is not valid.
    """
    head, colon, tail = line.partition(":")
    name, phrase = (head.strip(), tail) if colon else ("", head)
    name = name or f"line {number}"
    try:
        Refusal(name)
    except ValueError as error:
        raise SettingsInvalid(f"CASCADE_BLOCKLIST: line {number}: {error}") from error
    if not is_phrase(phrase):
        message = f"CASCADE_BLOCKLIST: line {number} has no letter or digit to look for"
        raise SettingsInvalid(message)
    return name, phrase
