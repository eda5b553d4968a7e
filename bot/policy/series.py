"""Reads the template and the variants of a series as people type them; does no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.text.error_messages import UserError
from bot.text.markdown import MAX_PROMPT_CHARS, escape, one_line, shorten
from cascade_core.errors import InvalidRequest
from cascade_core.operations.template import fill, variables_of

MAX_VARIANTS = 10
"""Pictures of a series: a message of Discord shows no more."""
MAX_VARIANTS_CHARS = 2000
_BETWEEN_VALUES = "/"
_GIVEN_CHARS = 60


def parse_variants(template: str, typed: str) -> list[dict[str, str]]:
    """Return the values of a template's variables, for each picture of a series.

    Pictures are separated by commas; by semicolons instead, if there is one. The values of one
    picture are separated by slashes and have the order of the variables in the template.

    Raises:
        UserError: the template has no variable or a lone brace, there are too many pictures, or a
            picture lacks a value, has one too many, or a prompt that is too long.
    """
    names = _variables(template)
    separator = ";" if ";" in typed else ","
    parts = [part for part in map(one_line, typed.split(separator)) if part]
    if not 1 <= len(parts) <= MAX_VARIANTS:
        raise UserError.because("series_count", count=len(parts), most=MAX_VARIANTS)
    variants = [_variant(names, part) for part in parts]
    for part, values in zip(parts, variants, strict=True):
        if len(fill(template, values)) > MAX_PROMPT_CHARS:
            raise UserError.because("series_length", given=_given(part), most=MAX_PROMPT_CHARS)
    return variants


def format_variants(template: str, variants: Sequence[Mapping[str, str]]) -> str:
    """Return variants as :func:`parse_variants` reads them; empty if it reads other ones."""
    labels = [label_of(template, values) for values in variants]
    typed = (", " if not any("," in label for label in labels) else "; ").join(labels)
    try:
        is_same = parse_variants(template, typed) == list(map(dict, variants))
    except UserError:
        return ""
    return typed if is_same else ""


def label_of(template: str, values: Mapping[str, str]) -> str:
    """Return what tells a picture from the others of its series: the values of its variables."""
    return f" {_BETWEEN_VALUES} ".join(values[name] for name in variables_of(template))


def _variables(template: str) -> tuple[str, ...]:
    try:
        names = variables_of(template)
    except InvalidRequest as error:
        raise UserError.because("series_template") from error
    if not names:
        raise UserError.because("series_template")
    return names


def _variant(names: Sequence[str], part: str) -> dict[str, str]:
    texts = [part] if len(names) == 1 else part.split(_BETWEEN_VALUES)
    values = [text.strip() for text in texts]
    if len(values) != len(names) or not all(values):
        wanted = f" {_BETWEEN_VALUES} ".join(names)
        raise UserError.because("series_values", given=_given(part), wanted=escape(wanted))
    return dict(zip(names, values, strict=True))


def _given(part: str) -> str:
    return escape(shorten(part, _GIVEN_CHARS))
