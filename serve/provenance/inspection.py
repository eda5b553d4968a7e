"""Looks into a picture file of any origin: its credentials, its marks and its fingerprint."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_core.errors import InvalidRequest
from cascade_core.images.fingerprint import FINGERPRINT_SIDE_PX, fingerprint_of
from cascade_core.images.image_files import FileMarks, encode_thumbnails, read_marks
from cascade_core.images.upload_decoder import check_upload, decode_upload
from serve.provenance.credentials import CredentialReader, Credentials


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a file, which is not trusted.

    Attributes:
        credentials: its signed provenance.
        marks: what it says of itself.
        fingerprint: of its pixels; None: they are damaged.
    """

    credentials: Credentials
    marks: FileMarks
    fingerprint: int | None


def inspect_file(data: bytes, reader: CredentialReader) -> Inspection:
    """Return what is found in a file; blocks, and fetches nothing.

    Raises:
        InvalidRequest: no PNG, JPEG or WebP file, or one that is too large or too small.
    """
    check_upload(data)
    try:
        marks = read_marks(data)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, "file") from error
    credentials = reader.read(data, f"image/{marks.image_format}")
    return Inspection(credentials, marks, _fingerprint(data))


def _fingerprint(data: bytes) -> int | None:
    """Return a fingerprint made as those of stored pictures are, so that equal pixels agree."""
    try:
        pixels_hwc = decode_upload(data)
    except InvalidRequest:
        return None
    small = encode_thumbnails(pixels_hwc, (FINGERPRINT_SIDE_PX,))
    return fingerprint_of(small[FINGERPRINT_SIDE_PX])
