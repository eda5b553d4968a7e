"""Limits how deep JSON of clients is nested, so that every parser and writer of it can take it."""

from __future__ import annotations

from typing import Any, Final

MAX_DEPTH: Final = 64
"""Pydantic and Python's json give up at a few hundred, each at another depth."""


def is_too_deep(value: Any) -> bool:
    """Return True if lists and objects are nested more than ``MAX_DEPTH`` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in _inside(item)]
    return any(isinstance(item, dict | list) for item in level)


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
