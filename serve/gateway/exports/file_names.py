"""Names of files in an export, filled in from a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from cascade_core.errors import InvalidRequest
from serve.storage.library.words import words_of

FIELDS: Final = ("image_id", "job_id", "index", "seed", "preset", "prompt", "model", "number")
DEFAULT_TEMPLATE: Final = "{preset}/{prompt}-{image_id}"
MAX_TEMPLATE_CHARS: Final = 200
_MAX_PART_CHARS: Final = 100
_WORDS_CHARS: Final = 40
_PART: Final = r"(?:[A-Za-z0-9_.-]|\{[a-z_]+\})+"
_TEMPLATE: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_FIELD: Final = re.compile(r"\{([a-z_]+)\}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


def check_template(template: str, field: str) -> None:
    """Check a template of names.

    Args:
        template: the template.
        field: of the body that has it.

    Raises:
        InvalidRequest: it has other characters than names have, or an unknown field.
    """
    if not _TEMPLATE.fullmatch(template) or any(
        part.startswith(".") for part in template.split("/")
    ):
        raise InvalidRequest(
            f"{field} must have letters, digits, _ - . and fields such as {{image_id}}, with / "
            "between folders",
            field,
        )
    unknown = set(_FIELD.findall(template)) - set(FIELDS)
    if unknown:
        names = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise InvalidRequest(f"{field} may have these fields: {names}", field)


class FileNames:
    """Gives each file of one export a name that every system takes."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def next(self, template: str, values: Mapping[str, object], suffix: str) -> str:
        """Return the name of the next file.

        Args:
            template: checked; see `check_template`.
            values: of the fields; a prompt's words are shortened.
            suffix: of the file, such as ``.jpg``.
        """

        def filled(found: re.Match[str]) -> str:
            value = str(values[found[1]])
            if found[1] == "prompt":
                value = _shortened("-".join(filter(str.isascii, words_of(value))))
            return _UNSAFE.sub("-", value).strip("-") or "picture"

        parts = _FIELD.sub(filled, template).split("/")
        path = "/".join(part.strip(".")[:_MAX_PART_CHARS] or "file" for part in parts)
        name, number = path + suffix, 2
        while name.lower() in self._taken:  # some systems do not tell capitals apart
            name, number = f"{path}-{number}{suffix}", number + 1
        self._taken.add(name.lower())
        return name


def _shortened(words: str) -> str:
    """Return as many whole words, joined by hyphens, as a name has room for."""
    if len(words) <= _WORDS_CHARS:
        return words
    return words[: _WORDS_CHARS + 1].rpartition("-")[0] or words[:_WORDS_CHARS]
