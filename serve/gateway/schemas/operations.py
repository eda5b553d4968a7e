"""The operations of a model, as ``GET /v1/models`` and OpenAPI show them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, Field

from cascade_core.families.operation_info import operations_of
from cascade_core.families.spec import Family
from cascade_core.model_defaults import ModelDefaults


class OperationField(BaseModel):
    """A field that a job of this kind may have."""

    name: str = Field(description="In the body of `POST /v1/jobs`.")
    limits: dict[str, Any] = Field(description="What its values must be, as a JSON Schema.")
    words: dict[str, float] = Field(
        description="Words that may stand for a number, with this model's number for each."
    )
    choices: list[Any] = Field(description="Values for a menu; empty: a client types one.")
    is_required: bool
    default: Any = Field(
        description="The value of an absent field; null if it then has none, or another one in "
        "each job."
    )
    default_from: str | None = Field(
        description="What an absent field is taken from if `default` is null: `latent` (the stored "
        "one), `image` (the one to start from), `random`, or the field of this name; null if the "
        "field is required."
    )


class ModelOperation(BaseModel):
    """A kind of job that the model can do."""

    name: str = Field(description="The `kind` of its jobs.")
    title: str = Field(description="What it makes, for people.")
    stages: list[str] = Field(description="The stages that each image passes, in order.")
    fields: list[OperationField] = Field(description="Other fields are answered 422.")


def operation_details(family: Family, defaults: ModelDefaults) -> list[ModelOperation]:
    """Return what clients are told of the operations."""
    return [ModelOperation(**asdict(info)) for info in operations_of(family, defaults)]
