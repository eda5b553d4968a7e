"""The reader of manifests against files that anyone may have changed."""

from __future__ import annotations

import random

import pytest

from cascade_core.operations.fields import ImageFormat
from serve.provenance.certificates import NewCredentials
from serve.provenance.credentials import CredentialReader
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.statements import ModelPassport, Origin, PictureFile
from tests.serve.provenance.conftest import unsigned

CHANGES = 150
ORIGIN = Origin(ModelPassport("demo", "r1", "f1", "Apache-2.0"), "generate")


def changed(data: bytes, rng: random.Random) -> bytes:
    """Return a file with bytes changed, cut off, repeated or replaced by a large number."""
    start, end = sorted(rng.sample(range(len(data)), 2))
    kinds = (
        data[:start] + bytes([data[start] ^ (1 << rng.randrange(8))]) + data[start + 1 :],
        data[:start],
        data[:end] + data[start:],
        data[:start] + b"\xff\xff\xff\xff" + data[start + 4 :],
    )
    return rng.choice(kinds)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_any_damage_is_invalid_or_leaves_what_was_signed(
    signer: PictureSigner, credentials: NewCredentials, image_format: ImageFormat
) -> None:
    source = PictureFile(signer.sign_new(unsigned(image_format), ORIGIN), image_format)
    origin = Origin(ORIGIN.model, "vary_details", source)
    data = signer.sign_new(unsigned(image_format), origin)
    reader, rng = CredentialReader(credentials.authority_pem), random.Random(7)
    states = [
        reader.read(changed(data, rng), f"image/{image_format}").state for _ in range(CHANGES)
    ]
    # What is still trusted differs in the padding of the manifest alone, which nothing shows.
    assert states.count("invalid") > CHANGES / 2
    assert set(states) <= {"invalid", "none", "trusted"}
