"""The bodies of ``/v1/uploads``."""

from __future__ import annotations

from typing import Annotated

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from serve.gateway.schemas.fields import User


class UploadForm(BaseModel):
    """A picture to start images from."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile,
        Field(
            description="A PNG, JPEG or WebP file of at most 16 MiB and 50 megapixels, whose sides "
            "have 32 to 16384 px; 25 megapixels with transparency. Only its pixels are kept."
        ),
    ]
    user: User = None


class UploadAnswer(BaseModel):
    """A stored upload."""

    id: str
    width: int = Field(description="Pixels as stored: upright, and not larger than images need.")
    height: int
    expires_at: str = Field(description="It is deleted then, unless a job uses it before.")
