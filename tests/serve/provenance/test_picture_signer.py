"""Signing pictures, and what a reader of the manifests finds then."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import c2pa
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cascade_core.errors import ProvenanceFailed
from cascade_core.images.image_files import convert_image
from cascade_core.operations.fields import ImageFormat
from serve.provenance.certificates import NewCredentials
from serve.provenance.credentials import CredentialReader, Credentials
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.statements import ModelPassport, Origin, PictureFile
from tests.serve.provenance.conftest import unsigned

FORMATS: tuple[ImageFormat, ...] = ("png", "jpeg", "webp")
MODEL = ModelPassport("demo", "r1", "f" * 64, "Apache-2.0")
ORIGIN = Origin(MODEL, "generate")


def signed(signer: PictureSigner, image_format: ImageFormat = "png") -> PictureFile:
    return PictureFile(signer.sign_new(unsigned(image_format), ORIGIN), image_format)


def made_of(signer: PictureSigner, source: Any) -> PictureFile:
    origin = Origin(MODEL, "vary_details", source)
    return PictureFile(signer.sign_new(unsigned("png"), origin), "png")


def read(picture: PictureFile, trusted_pem: str = "") -> Credentials:
    return CredentialReader(trusted_pem).read(picture.data, picture.media_type)


def report(picture: PictureFile) -> dict[str, Any]:
    """Return the manifest of a file as the library tells it."""
    with c2pa.Reader(picture.media_type, BytesIO(picture.data)) as reader:
        whole = json.loads(reader.json())
    found: dict[str, Any] = whole["manifests"][whole["active_manifest"]]
    return found


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_signed_picture_is_trusted_by_its_authority_until_a_byte_changes(
    signer: PictureSigner, credentials: NewCredentials, image_format: ImageFormat
) -> None:
    picture = signed(signer, image_format)
    found = read(picture, credentials.authority_pem)
    assert (found.state, found.codes) == ("trusted", ())
    assert found.signer == "Cascade signer, Cascade Serve, self-made"
    assert read(unsigned(image_format)).state == "none"
    middle = len(picture.data) // 2 if image_format != "webp" else 5000
    changed = bytearray(picture.data)
    changed[middle] ^= 1
    broken = read(PictureFile(bytes(changed), image_format), credentials.authority_pem)
    assert (broken.state, broken.codes) == ("invalid", ("assertion.dataHash.mismatch",))


def test_a_signature_of_an_unknown_authority_is_valid_but_not_trusted(
    signer: PictureSigner,
) -> None:
    found = read(signed(signer))
    assert (found.state, found.codes) == ("valid", ("signingCredential.untrusted",))


def test_the_manifest_names_the_model_and_what_may_be_done_and_has_no_thumbnail(
    signer: PictureSigner,
) -> None:
    picture = signed(signer)
    assert len(picture.data) - len(unsigned("png").data) < 4096
    found = report(picture)
    actions, mining = (assertion["data"] for assertion in found["assertions"])
    (created,) = actions["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert created["softwareAgent"]["name"] == "Cascade Serve"
    model = {"id": "demo", "revision": "r1", "fingerprint": "f" * 64, "licence": "Apache-2.0"}
    assert created["parameters"] == {"model": model, "operation": "generate"}
    assert {entry["use"] for entry in mining["entries"].values()} == {"notAllowed"}
    assert "thumbnail" not in found


def test_a_picture_shows_two_generations_before_it_and_then_says_that_there_are_more(
    signer: PictureSigner,
) -> None:
    first = signed(signer)
    second = made_of(signer, first)
    third = made_of(signer, second)
    fourth = made_of(signer, third)
    (used,) = report(second)["ingredients"]
    assert (used["relationship"], "thumbnail" in used) == ("inputTo", False)
    assert [len(read(one).ingredients) for one in (first, second, third, fourth)] == [0, 1, 1, 0]
    assert all(len(one.data) - len(first.data) < 15_000 for one in (second, third, fourth))
    (created,) = report(fourth)["assertions"][0]["data"]["actions"]
    assert created["parameters"]["source_not_included"] == "too_many_generations"


@pytest.mark.parametrize("source", ["deleted", PictureFile(b"no picture", "png")])
def test_a_source_that_cannot_be_shown_is_told_of_and_the_picture_is_signed(
    signer: PictureSigner, source: Any
) -> None:
    found = report(made_of(signer, source))
    (created,) = found["assertions"][0]["data"]["actions"]
    reason = source if isinstance(source, str) else "unreadable"
    assert created["parameters"]["source_not_included"] == reason
    assert "ingredients" not in found


def test_a_conversion_names_the_original_as_its_parent(
    signer: PictureSigner, credentials: NewCredentials
) -> None:
    original = signed(signer)
    made = PictureFile(convert_image(original.data, "webp", max_side_px=64), "webp")
    assert read(made).state == "none"
    again = signer.sign_edited(made, original, ["c2pa.resized", "c2pa.converted"])
    found = read(PictureFile(again, "webp"), credentials.authority_pem)
    assert (found.state, found.codes) == ("trusted", ())
    assert [one.action for one in found.actions] == [
        "c2pa.opened",
        "c2pa.resized",
        "c2pa.converted",
    ]
    (parent,) = found.ingredients
    assert (parent.relationship, parent.is_signed) == ("parentOf", True)


class Device:
    """A key that never leaves its device; it may be switched off."""

    def __init__(self, credentials: NewCredentials) -> None:
        self.chain_pem = credentials.chain_pem
        self.is_on = True
        self._key = load_pem_private_key(credentials.key_pem.encode(), None)

    def sign(self, data: bytes) -> bytes:
        if not self.is_on:
            raise OSError("switched off")
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        pair = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in pair)


def test_a_device_signs_and_nothing_is_unsigned_when_it_fails(credentials: NewCredentials) -> None:
    device = Device(credentials)
    signer = PictureSigner(device)
    assert read(signed(signer), credentials.authority_pem).state == "trusted"
    device.is_on = False
    with pytest.raises(ProvenanceFailed):
        signed(signer)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"jumb" * 100])
def test_a_file_that_is_no_picture_has_no_valid_credentials(data: bytes) -> None:
    assert read(PictureFile(data, "png")).state in ("none", "invalid")
