"""What is made of stored pictures is signed, or not made."""

from __future__ import annotations

from typing import Any

import pytest

from cascade_core.errors import ProvenanceFailed
from cascade_core.images.image_files import convert_image, read_info
from serve.provenance.certificates import NewCredentials
from serve.provenance.credentials import CredentialReader
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.renditions import convert_signed, sign_rendition
from serve.provenance.statements import ModelPassport, Origin, PictureFile
from tests.serve.provenance.conftest import unsigned

ORIGIN = Origin(ModelPassport("demo", "r1", "f1", "Apache-2.0"), "generate")


@pytest.fixture
def stored(signer: PictureSigner) -> bytes:
    return signer.sign_new(unsigned("png"), ORIGIN)


@pytest.mark.parametrize(
    ("image_format", "options", "actions"),
    [
        ("webp", {}, ["c2pa.converted"]),
        ("jpeg", {"quality": 50}, ["c2pa.converted"]),
        ("png", {"keeps_info": False}, ["c2pa.edited.metadata"]),
        ("webp", {"keeps_info": False}, ["c2pa.edited.metadata", "c2pa.converted"]),
    ],
)
def test_a_conversion_is_signed_and_says_what_was_done_to_the_stored_picture(
    signer: PictureSigner,
    credentials: NewCredentials,
    stored: bytes,
    image_format: Any,
    options: dict[str, Any],
    actions: list[str],
) -> None:
    made = convert_signed(signer, stored, image_format, **options)
    found = CredentialReader(credentials.authority_pem).read(made, f"image/{image_format}")
    assert (found.state, found.codes) == ("trusted", ())
    assert [one.action for one in found.actions] == ["c2pa.opened", *actions]
    assert [(one.relationship, one.is_signed) for one in found.ingredients] == [("parentOf", True)]
    assert read_info(made) is None


def test_a_stored_file_that_needs_no_conversion_stays_as_it_is(
    signer: PictureSigner, stored: bytes
) -> None:
    assert convert_signed(signer, stored, "png") is stored


def test_nothing_is_signed_where_signing_is_off(stored: bytes) -> None:
    assert convert_signed(None, stored, "webp") == convert_image(stored, "webp")


def test_a_rendition_of_a_picture_from_before_signing_is_signed_and_its_parent_is_not(
    signer: PictureSigner, credentials: NewCredentials
) -> None:
    original = unsigned("png")
    small = PictureFile(convert_image(original.data, "webp", max_side_px=64), "webp")
    made = sign_rendition(signer, small, original, ["c2pa.resized", "c2pa.converted"])
    found = CredentialReader(credentials.authority_pem).read(made, "image/webp")
    assert found.state == "trusted"
    assert [(one.relationship, one.is_signed) for one in found.ingredients] == [("parentOf", False)]


def test_a_conversion_that_cannot_be_signed_is_an_error(
    signer: PictureSigner, stored: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise ProvenanceFailed("the device is switched off")

    monkeypatch.setattr(signer, "sign_edited", fail)
    with pytest.raises(ProvenanceFailed):
        convert_signed(signer, stored, "webp")
