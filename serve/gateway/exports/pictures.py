"""The pictures of an export: which the caller may have, and the files that are made of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, cast

from cascade_core.errors import AssetDamaged, InvalidRequest, NotFound
from cascade_core.images.renditions import CENTRE, Change, Preset, render
from cascade_core.operations.fields import ImageFormat
from serve.gateway.assets.sight import find_seen_image
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.exports.bodies import ExportBody
from serve.gateway.lookups import not_deleted
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.renditions import sign_rendition
from serve.provenance.statements import EditAction, PictureFile
from serve.storage.assets.asset import Asset
from serve.storage.library.query import LibraryQuery

MAX_FOUND: Final = 1000
"""Pictures of one export by a search."""
ORIGINAL: Final = "original"
_MANIFEST_BYTES: Final = 16_000
"""Kept free in a limited file for its manifest, with that of its original in it."""
_ACTIONS: Final[dict[Change, EditAction]] = {
    "cropped": "c2pa.cropped",
    "resized": "c2pa.resized",
    "padded": "c2pa.edited",
}
_SUFFIXES: Final = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export.

    Attributes:
        file: its bytes and format.
        preset: its name; `ORIGINAL`: the stored file.
        width, height: in pixels.
        warnings: what is not as the preset wants it, in sentences.
    """

    file: PictureFile
    preset: str
    width: int
    height: int
    warnings: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """Of its name."""
        return _SUFFIXES[self.file.image_format]

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest says of it, without its name."""
        return {
            "sha256": hashlib.sha256(self.file.data).hexdigest(),
            "bytes": len(self.file.data),
            "preset": self.preset,
            "format": self.file.image_format,
            "width": self.width,
            "height": self.height,
            "credentials": "signed" if self.file.has_manifest else "none",
            "warnings": list(self.warnings),
        }


async def wanted_ids(services: Services, caller: Caller, body: ExportBody) -> list[str]:
    """Return the ids of the pictures that a body names, each once.

    Raises:
        InvalidRequest: it names none, or too many.
        NotFound, Gone: the caller does not see one of them, or it was deleted.
    """
    if (body.ids is None) == (body.q is None):
        raise InvalidRequest("either ids or q must be given", "ids")
    if body.ids is not None:
        ids = list(dict.fromkeys(body.ids))
        for image_id in ids:
            not_deleted(await find_seen_image(services, caller, image_id))
        return ids
    query, find = LibraryQuery.parse(body.q or ""), services.database.pictures.found_ids
    found = await services.database.run(find, caller.viewpoint, query, MAX_FOUND + 1)
    if len(found) > MAX_FOUND:
        message = f"q finds more than {MAX_FOUND} images; narrow it, as by after: and before:"
        raise InvalidRequest(message, "q")
    if not found:
        raise NotFound("q finds no image", "q")
    return found


def check_file(asset: Asset, data: bytes) -> None:
    """Check that a picture's file is the one that was submitted.

    Raises:
        AssetDamaged: it is another one.
    """
    if asset.sha256 not in (None, hashlib.sha256(data).hexdigest()):
        raise AssetDamaged("the stored file is not the one that was submitted")


def original(asset: Asset, data: bytes) -> ExportedFile:
    """Return a picture's stored file as it is."""
    file = PictureFile(data, cast(ImageFormat, asset.format))
    return ExportedFile(file, ORIGINAL, asset.width, asset.height)


def rendition(
    asset: Asset, data: bytes, preset: Preset, body: ExportBody, signer: PictureSigner | None
) -> ExportedFile:
    """Return a picture in the form of a preset; blocks, so it belongs into a thread.

    Args:
        asset: the picture.
        data: its stored file.
        preset: the form.
        body: says what a crop keeps, and whether the texts of the file are kept.
        signer: None: pictures are not signed.

    Raises:
        InvalidRequest: the file is damaged.
        ProvenanceFailed: the rendition could not be signed.
    """
    point, keeps_info = body.focal_points.get(asset.id), body.metadata == "all"
    focal_point = CENTRE if point is None else (point.x, point.y)
    reserved = 0 if signer is None else _MANIFEST_BYTES
    made = render(data, preset, focal_point, keeps_info=keeps_info, reserved_bytes=reserved)
    stored = PictureFile(data, cast(ImageFormat, asset.format))
    actions = [_ACTIONS[change] for change in made.changes]
    if not keeps_info:
        actions.append("c2pa.edited.metadata")
    if preset.image_format != stored.image_format or preset.max_bytes is not None:
        actions.append("c2pa.converted")
    signed = sign_rendition(signer, PictureFile(made.data, preset.image_format), stored, actions)
    warnings = made.warnings
    if preset.max_bytes is not None and len(signed) > preset.max_bytes and not warnings:
        warnings = (f"the signed file has {len(signed)} bytes; {preset.name} takes fewer",)
    file = PictureFile(signed, preset.image_format)
    return ExportedFile(file, preset.name, made.width, made.height, warnings)
