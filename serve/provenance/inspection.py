"""Looks into a picture file of any origin: its credentials, its marks and its fingerprint."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_core.errors import InvalidRequest
from cascade_core.images.fingerprint import FINGERPRINT_SIDE_PX, fingerprint_of
from cascade_core.images.image_files import FileMarks, encode_thumbnails, read_marks
from cascade_core.images.upload_decoder import check_upload, decode_upload
from serve.provenance.credentials import CredentialReader, Credentials
from serve.provenance.watermarks import payload_in
from serve.watermarker import Watermarker


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a file, which is not trusted.

    Attributes:
        credentials: its signed provenance.
        marks: what it says of itself.
        fingerprint: of its pixels; None: they are damaged.
        payload: of the watermark in them; None: there is none.
    """

    credentials: Credentials
    marks: FileMarks
    fingerprint: int | None
    payload: bytes | None


def inspect_file(
    data: bytes, reader: CredentialReader, watermarker: Watermarker | None
) -> Inspection:
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
    try:
        pixels_hwc = decode_upload(data)
    except InvalidRequest:
        return Inspection(credentials, marks, None, None)
    # As those of stored pictures are made, so that equal pixels agree.
    small = encode_thumbnails(pixels_hwc, (FINGERPRINT_SIDE_PX,))
    fingerprint = fingerprint_of(small[FINGERPRINT_SIDE_PX])
    return Inspection(credentials, marks, fingerprint, payload_in(watermarker, pixels_hwc))
