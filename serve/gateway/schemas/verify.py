"""The bodies of ``/v1/verify``."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from cascade_core.images.ai_mark import SOURCE_TYPE
from serve.provenance.credentials import State

_ID = "01JXQ5W8T3M4N6P7R8S9T0V1W2"


class VerifyForm(BaseModel):
    """A picture file of any origin."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile,
        Field(
            description="A PNG, JPEG or WebP file of at most 16 MiB, whose sides have 32 to 4096 "
            "px. It is not kept."
        ),
    ]


class ActionShown(BaseModel):
    """What was done to the picture."""

    action: str = Field(description="C2PA's word, such as `c2pa.created`.")
    source_type: str = Field(description="IPTC's word for the kind of source, or empty.")
    software: str
    model: str = Field(description="Id and revision of the model, or empty.")


class IngredientShown(BaseModel):
    """A picture that this one was made from."""

    relationship: str = Field(description="`parentOf`, `inputTo` or `componentOf`.")
    is_signed: bool


class CredentialsShown(BaseModel):
    """The file's signed provenance (C2PA); its texts are those of the file."""

    state: State = Field(
        description="`trusted`: unchanged since a key signed it that this service trusts; `valid`: "
        "unchanged, by a key that nothing here vouches for; `invalid`: changed since, signed "
        "wrongly, or not readable; `none`: not signed."
    )
    codes: list[str] = Field(description="C2PA's codes of what failed, or why it is not trusted.")
    signer: str = Field(description="The name in the certificate.")
    created_at: str | None = Field(
        description="When it was signed, if an authority has stamped the time."
    )
    actions: list[ActionShown]
    ingredients: list[IngredientShown]


class XmpShown(BaseModel):
    """What the file's XMP says of the picture's source; anyone can write it."""

    digital_source_type: str
    system: str
    version: str


class OwnPicture(BaseModel):
    """The picture of this service that the file names inside; anyone can write it."""

    image_id: str
    latent_id: str


class NearPictureShown(BaseModel):
    """A picture of this service that resembles the file."""

    image_id: str
    distance: int = Field(description="How many of 64 bits of the fingerprints differ.")


class WatermarkShown(BaseModel):
    """The invisible mark in the pixels."""

    payload: str = Field(description="In hexadecimal digits.")
    image_id: str | None = Field(
        description="The picture whose watermark it is, if it is `ours` or among `nearest`."
    )


class VerifyAnswer(BaseModel):
    """What is found in a file."""

    credentials: CredentialsShown
    xmp: XmpShown | None
    ours: OwnPicture | None = Field(description="Only if the caller may see it.")
    watermark: WatermarkShown | None = Field(
        description="`null` also where the service has no watermarker."
    )
    nearest: list[NearPictureShown] = Field(
        description="Up to five pictures that the caller sees, the nearest first."
    )
    is_damaged: bool = Field(description="The pixels cannot be read; nothing is near then.")


VERIFY_EXAMPLE: Final[dict[str, Any]] = {
    "credentials": {
        "state": "trusted",
        "codes": [],
        "signer": "Cascade signer, Cascade Serve, self-made",
        "created_at": None,
        "actions": [
            {
                "action": "c2pa.created",
                "source_type": SOURCE_TYPE,
                "software": "Cascade Serve 1.0.0",
                "model": "demo 1",
            }
        ],
        "ingredients": [{"relationship": "inputTo", "is_signed": True}],
    },
    "xmp": {"digital_source_type": SOURCE_TYPE, "system": "demo", "version": "1"},
    "ours": {"image_id": _ID, "latent_id": _ID},
    "watermark": {"payload": "9f86d081884c7d65", "image_id": _ID},
    "nearest": [{"image_id": _ID, "distance": 0}],
    "is_damaged": False,
}
