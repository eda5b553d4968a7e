"""The bodies of exports."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from cascade_core.images.image_files import MAX_FILE_BYTES
from cascade_core.images.renditions import MAX_SIDE_PX, MIN_SIDE_PX, Fit
from cascade_core.operations.fields import ImageFormat
from serve.gateway.exports.file_names import DEFAULT_TEMPLATE, MAX_TEMPLATE_CHARS
from serve.gateway.schemas.boards import PictureId, PictureIds
from serve.storage.blobs.converted_images import Metadata
from serve.storage.library.query import MAX_QUERY_CHARS

MAX_PRESETS: Final = 20
"""Of one export."""

PRESET_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,47}$"
MIN_LIMIT_BYTES: Final = 30_000
"""A signed file has 15 KB beside its picture."""

PresetName = Annotated[str, Field(pattern=PRESET_NAME)]
_FIT: Final = (
    "`crop` cuts, `pad` fills with the colour, `blur` with the blurred picture, `inside` fills "
    "nothing."
)
Template = Annotated[str, Field(min_length=1, max_length=MAX_TEMPLATE_CHARS)]
Side = Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)]
Part = Annotated[float, Field(ge=0, le=1)]


class FocalPoint(BaseModel):
    """The place that a crop keeps."""

    model_config = ConfigDict(strict=True, extra="forbid")

    x: Part = Field(description="From the left: 0 to 1.")
    y: Part = Field(description="From the top: 0 to 1.")


class ExportBody(BaseModel):
    """What to export, and in which forms."""

    model_config = ConfigDict(strict=True, extra="forbid")

    ids: PictureIds | None = Field(
        None, description="Pictures of the caller, and assets of others that it sees."
    )
    q: Annotated[str, Field(max_length=MAX_QUERY_CHARS)] | None = Field(
        None, description="Instead of `ids`: the caller's pictures that this finds in the library."
    )
    presets: Annotated[list[PresetName], Field(max_length=MAX_PRESETS)] = Field(
        default_factory=list, description="Names of presets; a file of each picture for each."
    )
    originals: bool = Field(
        False, description="The files as they are stored, too; always, without presets."
    )
    name: Template | None = Field(
        None,
        description="Of all files, without a suffix; fields: `{image_id}`, `{job_id}`, `{index}`, "
        "`{seed}`, `{preset}`, `{prompt}`, `{model}`, `{number}`; `/` makes folders. Without it, "
        f"that of the preset, or `{DEFAULT_TEMPLATE}`.",
    )
    focal_points: Annotated[
        dict[PictureId, FocalPoint], Field(max_length=500, description="By image id.")
    ] = Field(default_factory=dict)
    metadata: Metadata = Field(
        "all", description="`none`: renditions without prompt and ids; the mark stays."
    )


class PresetBody(BaseModel):
    """What a rendition is to be like."""

    model_config = ConfigDict(strict=True, extra="forbid")

    width: Side
    height: Side
    fit: Fit = Field("crop", description=_FIT)
    format: ImageFormat = "jpeg"
    max_bytes: Annotated[int, Field(ge=MIN_LIMIT_BYTES, le=MAX_FILE_BYTES)] | None = Field(
        None, description="Of the file; for jpeg and webp."
    )
    background: Annotated[str, Field(pattern="^#[0-9a-f]{6}$")] = Field(
        "#ffffff", description="Of `pad`."
    )
    file_name: Template | None = Field(
        None, description="Template of the names of its files, as `name` of exports."
    )


class PresetAnswer(BaseModel):
    """What a rendition is like."""

    name: str
    width: int
    height: int
    fit: Fit = Field(description=_FIT)
    format: ImageFormat
    max_bytes: int | None = Field(description="Of the file.")
    background: str = Field(description="Of `pad`: `#rrggbb`.")
    file_name: str | None = Field(description="Template of the names of its files.")
    is_built_in: bool


class PresetList(BaseModel):
    """The presets of the service, by name."""

    presets: list[PresetAnswer]
