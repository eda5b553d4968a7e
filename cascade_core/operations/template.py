"""Templates of prompts: text with ``{variables}``, and the values that fill them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cascade_core.errors import InvalidRequest
from cascade_core.operations.fields import MAX_PROMPT_CHARS, check_new_text

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES = {"{{": "{", "}}": "}"}


@dataclass(frozen=True, slots=True)
class _Template:
    """A template that was read: text, the value of a name, text, and so on; it ends with text."""

    texts: tuple[str, ...]
    names: tuple[str, ...]


def variables_of(template: str) -> tuple[str, ...]:
    """Return the names of a template's variables, each once, in the order of the text.

    ``{{`` and ``}}`` are braces of the text itself.

    Raises:
        InvalidRequest: a brace stands alone, or a variable has no name.
    """
    return tuple(dict.fromkeys(_read(template).names))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return a template's text with its variables replaced by their values.

    Braces in values are text.

    Raises:
        InvalidRequest: a brace stands alone, or a variable has no name.
        KeyError: a variable has no value.
    """
    read = _read(template)
    filled = (values[name] + text for name, text in zip(read.names, read.texts[1:], strict=True))
    return read.texts[0] + "".join(filled)


def check_template(template: str, variants: Sequence[Mapping[str, str]]) -> None:
    """Check that each variant makes a prompt of a template.

    Raises:
        InvalidRequest: the template has no variable or a lone brace; a variant lacks a value or
            has one too many; or its prompt is empty, too long, or holds control characters.
    """
    names = variables_of(template)
    if not names:
        raise InvalidRequest("template must hold a variable, such as {colour}", "template")
    for index, values in enumerate(variants):
        field = f"variants[{index}]"
        missing, unknown = set(names) - values.keys(), values.keys() - set(names)
        if missing:
            raise InvalidRequest(f"{field} lacks {min(missing)!r}, which template names", field)
        if unknown:
            raise InvalidRequest(f"{field} has {min(unknown)!r}, which template lacks", field)
        _check_prompt(field, fill(template, values))


def _check_prompt(field: str, prompt: str) -> None:
    if not prompt.strip():
        raise InvalidRequest(f"the prompt of {field} must say what the picture shows", field)
    if len(prompt) > MAX_PROMPT_CHARS:
        message = f"{field} makes a prompt of {len(prompt)} characters, at most {MAX_PROMPT_CHARS}"
        raise InvalidRequest(message, field)
    check_new_text(field, prompt)


@lru_cache(maxsize=64)  # a hundred images of one series ask for the same one
def _read(template: str) -> _Template:
    texts, names, end = [""], [], 0
    for found in _PART.finditer(template):
        texts[-1] += template[end : found.start()] + _BRACES.get(found[0], "")
        end = found.end()
        if found[0] not in _BRACES:
            names.append(_name(found))
            texts.append("")
    texts[-1] += template[end:]
    return _Template(tuple(texts), tuple(names))


def _name(found: re.Match[str]) -> str:
    name = (found[1] or "").strip()
    if not name:
        where = f"template has {found[0]!r} at character {found.start() + 1}"
        raise InvalidRequest(f"{where}; a variable is {{name}}, a brace {{{{ or }}}}", "template")
    return name
