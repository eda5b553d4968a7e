"""Signed files to measure and to verify: new pictures, variations, renditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from cascade_core.images.image_files import convert_image, encode_image
from cascade_core.images.pixels import Rgb
from cascade_core.operations.fields import ImageFormat
from cascade_core.operations.registry import GENERATE, VARY_DETAILS
from serve.provenance.certificates import make_credentials
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.signing_key import FileKey
from serve.provenance.statements import ModelPassport, Origin, PictureFile

FORMATS: Final[tuple[ImageFormat, ...]] = get_args(ImageFormat)
_MODEL: Final = ModelPassport("demo", "r1", "f" * 64, "Apache-2.0")


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file before and after it was signed."""

    unsigned: PictureFile
    signed: PictureFile

    @property
    def growth_bytes(self) -> int:
        """How much signing adds to the file."""
        return len(self.signed.data) - len(self.unsigned.data)


class Signing:
    """Signs pictures with a certificate of its own.

    Attributes:
        authority_pem: vouches for the certificate.
    """

    def __init__(self) -> None:
        made = make_credentials()
        self.authority_pem = made.authority_pem
        self._signer = PictureSigner(FileKey(made.chain_pem, made.key_pem))

    def new(self, picture: PictureFile) -> SignedFile:
        """Sign a new picture."""
        return self._signed(picture, Origin(_MODEL, GENERATE.name))

    def variation(self, picture: PictureFile, source: PictureFile) -> SignedFile:
        """Sign a picture that was made from another one."""
        return self._signed(picture, Origin(_MODEL, VARY_DETAILS.name, source))

    def rendition(self, copy: PictureFile, original: PictureFile) -> SignedFile:
        """Sign a copy of a picture in another format."""
        signed = self._signer.sign_edited(copy, original, ["c2pa.converted"])
        return SignedFile(copy, PictureFile(signed, copy.image_format))

    def _signed(self, picture: PictureFile, origin: Origin) -> SignedFile:
        signed = self._signer.sign_new(picture, origin)
        return SignedFile(picture, PictureFile(signed, picture.image_format))


def bare(pixels_hwc: Rgb, image_format: ImageFormat) -> PictureFile:
    """Return a picture's file without a signature."""
    return PictureFile(encode_image(pixels_hwc, image_format, None), image_format)


def copy_of(picture: PictureFile, image_format: ImageFormat) -> PictureFile:
    """Return a copy in a format, without a signature also if the format stays."""
    return PictureFile(convert_image(picture.data, image_format, keeps_info=False), image_format)
