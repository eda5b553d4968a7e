"""Signs what is made of stored pictures without a model: conversions, crops, smaller copies."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_core.images.image_files import convert_image, read_marks
from cascade_core.operations.fields import ImageFormat
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.statements import EditAction, PictureFile


def sign_rendition(
    signer: PictureSigner | None,
    rendition: PictureFile,
    original: PictureFile,
    actions: Sequence[EditAction],
) -> bytes:
    """Return a rendition's file as it may be delivered; blocks, so it belongs into a thread.

    Args:
        signer: None: pictures are not signed, and the file stays as it is.
        rendition: made of the original's pixels.
        original: the picture's file as it is stored; it becomes the parent in the manifest.
        actions: what was done, in order, such as ``["c2pa.cropped", "c2pa.resized"]``.

    Raises:
        ProvenanceFailed: the file could not be signed; it must not be delivered.
    """
    if signer is None:
        return rendition.data
    return signer.sign_edited(rendition, original, actions)


def convert_signed(
    signer: PictureSigner | None,
    data: bytes,
    image_format: ImageFormat,
    quality: int | None = None,
    *,
    keeps_info: bool = True,
) -> bytes:
    """Return a stored picture as `convert_image` does, signed; blocks.

    Raises:
        InvalidRequest: as `convert_image`.
        ProvenanceFailed: as `sign_rendition`.
    """
    made = convert_image(data, image_format, quality, keeps_info=keeps_info)
    if made is data:
        return data
    stored = read_marks(data).image_format
    actions: list[EditAction] = []
    if not keeps_info:
        actions.append("c2pa.edited.metadata")
    if image_format != stored or quality is not None:
        actions.append("c2pa.converted")
    return sign_rendition(
        signer, PictureFile(made, image_format), PictureFile(data, stored), actions
    )
