"""What a model's ``cascade.json`` states: of itself, of requests, and rows that share a step."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from cascade_core.checkpoints import layout
from cascade_core.errors import ModelUnavailable
from cascade_core.model_defaults import MAX_ROWS, ModelDefaults, StrengthWord

ABOUT_FILE = "cascade.json"


class About(NamedTuple):
    """A model's own statements.

    Attributes:
        name, licence: empty if it states none.
        trained_on: for people; empty if it says nothing.
        weaknesses: what it is known to do badly, a text each.
        defaults: of requests; those of its family where it states none.
        max_rows: how many images may share a step, by device and stage.
    """

    name: str
    licence: str
    defaults: ModelDefaults
    max_rows: dict[str, dict[str, int]]
    trained_on: str
    weaknesses: tuple[str, ...]


def read_about(folder: Path, defaults: ModelDefaults) -> About:
    """Read a model's statements; ``defaults`` are its family's.

    Raises:
        ModelUnavailable: one cannot be; names the file and the field.
    """
    path = folder / ABOUT_FILE
    stated = read_optional(path)
    return About(
        name=str(stated.get("name") or ""),
        licence=str(stated.get("licence") or ""),
        defaults=_read_defaults(path, stated, defaults),
        max_rows=_read_max_rows(path, stated),
        trained_on=str(stated.get("trained_on") or ""),
        weaknesses=_read_weaknesses(path, stated),
    )


def read_optional(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises:
        ModelUnavailable: unreadable or not a JSON object.
    """
    return layout.read_json(path) if path.is_file() else {}


def _read_defaults(path: Path, stated: dict[str, Any], defaults: ModelDefaults) -> ModelDefaults:
    known = {item.name: getattr(defaults, item.name) for item in fields(ModelDefaults)}
    given = {name: stated[name] for name in known if name in stated}
    if isinstance(given.get("suggestions"), list):
        given["suggestions"] = tuple(map(str, given["suggestions"]))
    for name, value in given.items():
        if not isinstance(value, type(known[name])) and not (
            isinstance(known[name], float) and isinstance(value, int)
        ):
            raise ModelUnavailable(f"{path}: {name} has the wrong type, got {value!r}")
        if isinstance(value, dict):
            _check_strengths(path, name, value)
    return replace(defaults, **given)


def _check_strengths(path: Path, name: str, stated: dict[str, Any]) -> None:
    words = get_args(StrengthWord)
    if set(stated) != set(words) or not all(map(_is_strength, stated.values())):
        raise ModelUnavailable(
            f"{path}: {name} must give a number from 0 to 1 for each of {', '.join(words)}, "
            f"got {stated!r}"
        )


def _is_strength(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _read_weaknesses(path: Path, about: dict[str, Any]) -> tuple[str, ...]:
    stated = about.get("weaknesses", [])
    if not isinstance(stated, list) or not all(isinstance(text, str) for text in stated):
        raise ModelUnavailable(f"{path}: weaknesses must be a list of texts, got {stated!r}")
    return tuple(stated)


def _read_max_rows(path: Path, about: dict[str, Any]) -> dict[str, dict[str, int]]:
    stated = about.get("max_rows", {})
    if (
        not isinstance(stated, dict)
        or not stated.keys() <= {"cpu", "cuda"}
        or not all(isinstance(rows, dict) for rows in stated.values())
        or not all(_is_row_count(count) for rows in stated.values() for count in rows.values())
    ):
        raise ModelUnavailable(
            f"{path}: max_rows must give numbers from 1 to {MAX_ROWS} by device (cpu, cuda) and "
            f"stage, got {stated!r}"
        )
    return stated


def _is_row_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_ROWS
