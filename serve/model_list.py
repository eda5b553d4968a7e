"""Reads which models a service runs: names with commas, or a TOML file for more of each."""

from __future__ import annotations

import os
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from cascade_core.checkpoints.checkpoint import ModelSource
from cascade_core.errors import SettingsInvalid

FILE_SUFFIX: Final = ".toml"
_TABLES = "models"
_REVISION_MARK = "@"


def read_model_list(text: str) -> tuple[ModelSource, ...]:
    """Return the models that a setting names, in order.

    Args:
        text: names, folders or hub ids with commas, each with ``@`` and its commit if it needs one;
            or the path of a file with a table ``[[models]]`` for each, whose keys are the fields of
            :class:`ModelSource`.

    Raises:
        SettingsInvalid: it names no model, the file cannot be read, or one of its keys or values is
            wrong.
    """
    if text.endswith(FILE_SUFFIX):
        return _from_file(Path(os.path.expanduser(text)))  # an unknown user's home stays as it is
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SettingsInvalid(f"CASCADE_MODELS names no model, got {text!r}")
    return tuple(map(_from_name, names))


def _from_name(name: str) -> ModelSource:
    model, _, revision = name.partition(_REVISION_MARK)
    return ModelSource(model, revision=revision)


def _from_file(path: Path) -> tuple[ModelSource, ...]:
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise SettingsInvalid(f"{path} is not valid TOML: {error}") from error
    tables = stated.get(_TABLES)
    if stated.keys() != {_TABLES} or not isinstance(tables, list) or not tables:
        raise SettingsInvalid(f"{path} must hold one or more tables [[{_TABLES}]], nothing else")
    return tuple(_from_table(path, table) for table in tables)


def _from_table(path: Path, table: Any) -> ModelSource:
    known, types = [field.name for field in fields(ModelSource)], get_type_hints(ModelSource)
    if not isinstance(table, dict) or not table.get("model"):
        raise SettingsInvalid(f"{path}: each of [[{_TABLES}]] must name its model")
    for name, value in table.items():
        if name not in known:
            raise SettingsInvalid(f"{path}: {name} is none of {', '.join(known)}")
        choices = get_args(types[name])
        if not isinstance(value, str) or (choices and value not in choices):
            allowed = " or ".join(map(repr, choices)) if choices else "a text"
            raise SettingsInvalid(f"{path}: {name} must be {allowed}, got {value!r}")
    return ModelSource(**table)
