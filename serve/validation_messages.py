"""Describes in plain sentences why pydantic refused a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a number",
    "string": "text",
    "bool": "true or false",
    "dict": "a JSON object",
    "model": "a JSON object",
    "list": "a list",
}
"""By the beginning of the name that pydantic gives a kind of error, such as ``int_parsing``."""

_BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "literal_error": "{expected}",
}


def describe(field: str, problem: Mapping[str, Any]) -> str:
    """Return one sentence about a field's value.

    Args:
        field: name of the field for the client.
        problem: an item of pydantic's ``errors()``.
    """
    kind = str(problem["type"])
    if kind == "missing":
        return f"{field} is missing"
    if kind == "value_error" and not _is_about_files(problem):  # raised by one of our validators
        return f"{field} {str(problem['msg']).removeprefix('Value error, ')}"
    if kind == "string_too_short" and problem["ctx"]["min_length"] == 1:
        return f"{field} must not be empty"
    if kind in _BOUNDS:
        return f"{field} must be {_BOUNDS[kind].format(**problem['ctx'])}"
    if kind == "string_pattern_mismatch":
        return f"{field} has characters that it must not have, or is too long"
    if kind == "value_error":
        return f"{field} must be a file"
    for begin, name in _KINDS.items():
        if kind.startswith(begin):
            return f"{field} must be {name}"
    return f"{field} has a value that it cannot have"


def _is_about_files(problem: Mapping[str, Any]) -> bool:
    """Return True if FastAPI's own validator raised it."""
    return "UploadFile" in str(problem["msg"])
