"""Fields that several bodies share, with the ranges that OpenAPI shows.

:class:`cascade_core.request.GenerationRequest` checks them; both read
`cascade_core.operations.fields`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from cascade_core.model_defaults import DEFAULT_IMAGE_STRENGTH, DEFAULT_STRENGTH, StrengthWord
from cascade_core.operations.fields import FIELDS
from cascade_core.printable import is_printable
from serve.json_depth import MAX_DEPTH, is_too_deep
from serve.storage.schema.tables import MAX_USER_CHARS

MAX_CLIENT_STATE_BYTES = 4096

Value = TypeVar("Value")


def _limited(name: str, description: str | None = None) -> Any:
    """Return the description of a field, with the limits of an operation's field of that name."""
    return Field(description=description, json_schema_extra=FIELDS[name].limits)


def _printable(value: str | None) -> str | None:
    if value is not None and not is_printable(value):
        raise ValueError("must be printable text")
    return value


def _number_or_word(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    try:
        return handler(value)
    except ValidationError as error:  # one for each type, and none of them names the field alone
        words = ", ".join(get_args(StrengthWord))
        raise ValueError(f"must be a number between 0 and 1 or one of {words}") from error


def storable(max_bytes: int) -> Callable[[Value], Value]:
    """Return a check that refuses values that JSON, UTF-8 or PostgreSQL cannot store."""

    def check(value: Value) -> Value:
        if value is None:
            return value
        if is_too_deep(value):
            raise ValueError(f"must not be nested more than {MAX_DEPTH} deep")
        try:
            size_bytes = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
        except (ValueError, RecursionError) as error:
            raise ValueError("must be plain JSON without NaN or half surrogate pairs") from error
        if size_bytes > max_bytes:
            raise ValueError(f"must be at most {max_bytes} bytes of JSON")
        return value

    return check


RequiredText = Annotated[str, _limited("prompt")]
Text = Annotated[str | None, _limited("prompt")]
Side = Annotated[int | None, _limited("width", "Pixels; models allow less, see `GET /v1/models`.")]
Count = Annotated[int | None, _limited("n", "Images; image i uses seed + i.")]
Seed = Annotated[int | None, _limited("seed", "Random if absent.")]
Steps = Annotated[int | None, _limited("steps", "Steps that compose the picture.")]
Guidance = Annotated[
    float | None, _limited("guidance_scale", "Of the composition; 1 or less: none, twice as fast.")
]
Strength = Annotated[
    float | StrengthWord | None,
    _limited(
        "strength",
        "How far a picture departs from its latent: 0 keeps the composition, 1 nothing of it. "
        "`subtle` and `strong` stand for this model's own numbers. "
        f"Absent: `{DEFAULT_STRENGTH}`; with `image`, {DEFAULT_IMAGE_STRENGTH}.",
    ),
    WrapValidator(_number_or_word),
]
Template = Annotated[
    str | None,
    _limited("template", "Of the prompts of a series, with {variables}; braces are {{ and }}."),
]
Variants = Annotated[
    list[dict[str, str]] | None,
    _limited("variants", "By image of a series, the values of the template's variables."),
]
User = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=MAX_USER_CHARS,
        description="The end user; jobs can be listed by it.",
    ),
    AfterValidator(_printable),
]

ClientState = Annotated[
    dict[str, Any] | None,
    Field(description=f"Comes back with the job; at most {MAX_CLIENT_STATE_BYTES} bytes."),
    AfterValidator(storable(MAX_CLIENT_STATE_BYTES)),
]


class DecoderFields(BaseModel):
    """Fields of every request for images."""

    n: Count = None
    decoder_steps: Annotated[Steps, Field(description="Steps that draw its details.")] = None
    decoder_guidance_scale: Annotated[
        Guidance, Field(description="Of the details; 1 or less: none, twice as fast.")
    ] = None
    decoder_seed: Annotated[
        Seed, Field(description="Of the details; if absent, `seed`, or random without one.")
    ] = None


class DrawingFields(DecoderFields):
    """Fields of every request for new images."""

    negative_prompt: Annotated[Text, Field(description="What it should not show.")] = None
    seed: Seed = None
    steps: Steps = None
    guidance_scale: Guidance = None
