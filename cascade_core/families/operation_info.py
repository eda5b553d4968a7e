"""What clients of the service know of an operation: its fields, their limits and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cascade_core.families.spec import Family
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import FIELDS, SEEDS, SIDES, Field, OneOf, side_of_model
from cascade_core.operations.operation import Operation

FROM_LATENT = "latent"
FROM_IMAGE = "image"
RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """A field of an operation as ``GET /v1/models`` describes it.

    Attributes:
        name: in the body of a job.
        limits: in the words of JSON Schema; sides go up to the model's largest.
        words: words that a client may give instead of a number, with this model's number for each.
        choices: the values that a menu offers; empty if a client types one.
        is_required: a client must give it.
        default: its value if it is absent; None if it then has none, or another one in each job.
            An operation that can do without a latent takes other values from it if it is given.
        default_from: what an absent value is taken from then: :data:`FROM_LATENT`,
            :data:`FROM_IMAGE`, :data:`RANDOM` or the field of that name; None if it is required or
            has a default.
    """

    name: str
    limits: Mapping[str, Any]
    words: Mapping[str, float]
    choices: tuple[Any, ...] = ()
    is_required: bool = False
    default: Any = None
    default_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationInfo:
    """An operation of a model as ``GET /v1/models`` describes it.

    Attributes:
        name: the ``kind`` of its jobs.
        title: what its jobs make, for people.
        stages: the names of the stages that each image passes, in order.
        fields: what a client may give.
    """

    name: str
    title: str
    stages: tuple[str, ...]
    fields: tuple[FieldInfo, ...]


def operations_of(family: Family, defaults: ModelDefaults) -> tuple[OperationInfo, ...]:
    """Return what a model can do; ``defaults`` are the model's."""
    return tuple(
        OperationInfo(
            name=operation.name,
            title=operation.title,
            stages=tuple(stage.name for stage in operation.route(family.stages)),
            fields=tuple(
                _field_info(operation, name, field, defaults)
                for name, field in _fields_of_model(operation, family, defaults).items()
            ),
        )
        for operation in family.operations.values()
    )


def operations_in(model: Mapping[str, Any]) -> tuple[OperationInfo, ...]:
    """Return the operations in an entry of ``GET /v1/models``; an older service lists none."""
    names = {field.name for field in fields(FieldInfo)}
    return tuple(
        OperationInfo(
            name=operation["name"],
            title=operation["title"],
            stages=tuple(operation["stages"]),
            fields=tuple(
                FieldInfo(**{name: field[name] for name in names & field.keys()})
                for field in operation["fields"]
            ),
        )
        for operation in model.get("operations", ())
    )


def _fields_of_model(
    operation: Operation, family: Family, defaults: ModelDefaults
) -> Mapping[str, Field]:
    """Return an operation's fields with a model's limits, without those that it cannot serve."""
    names = (name for name in operation.fields if name not in family.lacks)
    found: dict[str, Field] = {name: FIELDS[name] for name in names}
    found |= {name: side_of_model(defaults.max_side) for name in SIDES if name in found}
    if found.pop("stop_after", None) and family.kept is not None:
        found["stop_after"] = OneOf((family.kept.name,))
    return found


def _field_info(
    operation: Operation, name: str, field: Field, defaults: ModelDefaults
) -> FieldInfo:
    known = operation.defaults(defaults)
    words: dict[str, float] = {}
    if name == "strength":
        words.update((str(word), number) for word, number in defaults.vary.items())
    is_required = name in operation.required
    is_open = not is_required and name not in known
    return FieldInfo(
        name=name,
        limits=_schema(field, words),
        words=words,
        choices=tuple(words) or field.choices,
        is_required=is_required,
        default=known.get(name),
        default_from=_default_from(operation, name) if is_open else None,
    )


def _schema(field: Field, words: Mapping[str, float]) -> dict[str, Any]:
    schema = {"type": field.json_type, **field.limits}
    return {"anyOf": [schema, {"enum": list(words)}]} if words else schema


def _default_from(operation: Operation, name: str) -> str:
    if name in operation.copied:
        return operation.copied[name]
    if name in SEEDS:
        return RANDOM
    return FROM_IMAGE if operation.takes_image else FROM_LATENT
