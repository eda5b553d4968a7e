from __future__ import annotations

import numpy as np
import pytest

from cascade_core.images.image_files import encode_image
from cascade_core.operations.fields import ImageFormat
from serve.provenance.certificates import NewCredentials, make_credentials
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.signing_key import FileKey
from serve.provenance.statements import PictureFile


def unsigned(image_format: ImageFormat) -> PictureFile:
    """Return a picture of noise, so that a changed byte changes pixels."""
    pixels = np.random.default_rng(7).integers(0, 255, (128, 128, 3), np.uint8)
    return PictureFile(encode_image(pixels, image_format, None), image_format)


@pytest.fixture(scope="session")
def credentials() -> NewCredentials:
    return make_credentials()


@pytest.fixture(scope="session")
def signer(credentials: NewCredentials) -> PictureSigner:
    return PictureSigner(FileKey(credentials.chain_pem, credentials.key_pem))
