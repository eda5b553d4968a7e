"""The bodies of OpenAI's images API, as OpenAPI shows them.

Names and meanings are those of OpenAI's images API, as in the types of its Python client, 3.54;
fields of our own are those of ``POST /v1/jobs``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cascade_core.operations.fields import ImageFormat
from serve.gateway.schemas.fields import DecoderFields, DrawingFields, RequiredText, User

MAX_PARTIAL_IMAGES = 3
ModelId = Annotated[str | None, Field(description="An id of `GET /v1/models`.")]
Form = Literal["b64_json", "url"]
SizeText = Annotated[
    str | None,
    Field(
        description="`WIDTHxHEIGHT`, or `auto`: the model's default.",
        json_schema_extra={"pattern": "^([0-9]{1,5}x[0-9]{1,5}|auto)?$"},
    ),
]


def _without_empty(values: Any) -> Any:
    """Drop empty fields: many clients send every field that they know."""
    if not isinstance(values, dict):
        return values
    return {
        name: value
        for name, value in values.items()
        if name == "prompt" or not (value is None or value == "")
    }


def _allow_empty(schema: dict[str, Any]) -> None:
    """Say in the schema of a body that fields may be empty, those that it does not have, too."""
    for field in schema["properties"].values():
        if "anyOf" in field:
            field["anyOf"].append({"const": ""})
    schema["additionalProperties"] = {"enum": [None, ""]}


class ImagesBody(DrawingFields):
    """A request for images in OpenAI's form; absent values come from the model's defaults.

    A field that is null or empty counts as absent.
    """

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra=_allow_empty)
    _given = model_validator(mode="before")(_without_empty)

    prompt: RequiredText
    model: ModelId = None
    size: SizeText = None
    response_format: Form | None = Field(
        None, description="`b64_json` if absent, unless the service is set otherwise."
    )
    output_format: ImageFormat | None = Field(None, description="`png` if absent.")
    output_compression: Annotated[
        int | None,
        Field(ge=0, le=100, description="Quality of JPEG and WebP; goes with `b64_json`."),
    ] = None
    stream: bool | None = Field(None, description="Answer with Server-Sent Events.")
    partial_images: Annotated[
        int | None,
        Field(
            ge=0,
            le=MAX_PARTIAL_IMAGES,
            description="Maximum number of partial images of each image.",
        ),
    ] = None
    user: User = None
    safety_identifier: User = None
    background: Literal["auto", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = Field(None, description="Accepted, not used.")
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = (
        Field(
            None,
            description="`decoder_steps` by a word: `low` 4, `medium` 10, `high` and above 20; "
            "`auto` and `standard` leave the default.",
        )
    )
    style: Literal["vivid", "natural"] | None = Field(None, description="Accepted, not used.")


class VariationForm(DecoderFields):
    """An image of this service, to be made again with other details.

    A field that is empty counts as absent.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=_allow_empty)
    _given = model_validator(mode="before")(_without_empty)

    image: UploadFile = Field(description="A PNG file that this service made.")
    model: ModelId = None
    size: Annotated[
        str | None, Field(description="The image's own size, or absent: a variation keeps it.")
    ] = None
    response_format: Form | None = Field(
        None, description="`url` if absent, unless the service is set otherwise."
    )
    user: User = None


class TokenDetails(BaseModel):
    """Always 0, as this service counts no tokens; clients expect the fields."""

    image_tokens: Literal[0] = 0
    text_tokens: Literal[0] = 0


class Usage(BaseModel):
    """Always 0, as this service counts no tokens; clients expect the fields."""

    total_tokens: Literal[0] = 0
    input_tokens: Literal[0] = 0
    output_tokens: Literal[0] = 0
    input_tokens_details: TokenDetails = TokenDetails()


class ImageData(BaseModel):
    """One image: its bytes in Base64 or its address, and what makes it again."""

    b64_json: str | None = None
    url: str | None = None
    image_id: str
    latent_id: str
    seed: int
    decoder_seed: int


class ImagesAnswer(BaseModel):
    """The finished images, by index."""

    created: int = Field(description="Unix time in seconds.")
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: ImageFormat
    size: str
    usage: Usage = Usage()
    job_id: str
    warnings: list[str] = Field(description="Values of the request that had no effect.")
