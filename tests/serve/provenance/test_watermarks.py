"""The operator's watermarker: how it is loaded, and what becomes of what it returns."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import c2pa
import numpy as np
import pytest

from cascade_core.errors import ProvenanceFailed, SettingsInvalid
from cascade_core.images.image_files import encode_image, read_pixels
from serve.provenance.certificates import NewCredentials
from serve.provenance.credentials import CredentialReader
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.statements import ModelPassport, Origin, PictureFile
from serve.provenance.watermarks import (
    load_watermarker,
    payload_in,
    payload_of,
    watermark_of,
    watermarked,
)
from serve.settings import load_settings
from serve.watermarker import PAYLOAD_BYTES
from tests.serve.provenance.watermarkers import Failing, InLowestBits, Shrinking

PIXELS = np.full((64, 64, 3), 90, np.uint8)


def test_a_watermark_is_found_again_in_the_file_and_stands_for_one_image() -> None:
    marked = watermarked(InLowestBits(), PIXELS, "IMG1")
    assert (PIXELS == 90).all()
    pixels = read_pixels(encode_image(marked, "png", None))
    assert payload_in(InLowestBits(), pixels) == payload_of("IMG1") != payload_of("IMG2")
    assert len(payload_of("IMG1")) == PAYLOAD_BYTES
    assert payload_in(InLowestBits(), PIXELS) is None


def test_nothing_changes_without_a_watermarker(tmp_path: Path) -> None:
    assert load_watermarker(load_settings(data_dir=tmp_path)) is None
    assert watermarked(None, PIXELS, "IMG1") is PIXELS
    assert payload_in(None, PIXELS) is None
    assert watermark_of("", "IMG1") is None


@pytest.mark.parametrize("watermarker", [Failing(), Shrinking()])
def test_a_picture_that_cannot_be_watermarked_is_not_made(watermarker: InLowestBits) -> None:
    with pytest.raises(ProvenanceFailed):
        watermarked(watermarker, PIXELS, "IMG1")


def test_a_watermarker_that_fails_on_a_foreign_picture_finds_nothing() -> None:
    assert payload_in(Failing(), PIXELS) is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no path", "must be an import path"),
        ("tests.serve.nowhere:Mark", "failed: ModuleNotFoundError"),
        ("builtins:object", "has no embed, detect or algorithm"),
    ],
)
def test_a_setting_that_makes_no_watermarker_is_refused(
    tmp_path: Path, path: str, said: str
) -> None:
    with pytest.raises(SettingsInvalid, match=f"CASCADE_WATERMARKER: .*{said}"):
        load_watermarker(load_settings(data_dir=tmp_path, watermarker=path))


def test_the_manifest_binds_the_watermark(
    signer: PictureSigner, credentials: NewCredentials
) -> None:
    model = ModelPassport("demo", "r1", "f1", "Apache-2.0")
    mark = watermark_of(InLowestBits.algorithm, "IMG1")
    origin = Origin(model, "generate", watermark=mark)
    data = signer.sign_new(PictureFile(encode_image(PIXELS, "png", None), "png"), origin)
    found = CredentialReader(credentials.authority_pem).read(data, "image/png")
    assert found.state == "trusted"
    assert [one.action for one in found.actions] == ["c2pa.created", "c2pa.watermarked.bound"]
    with c2pa.Reader("image/png", BytesIO(data)) as reader:
        report = json.loads(reader.json())
    assertions = report["manifests"][report["active_manifest"]]["assertions"]
    (binding,) = [one["data"] for one in assertions if one["label"] == "c2pa.soft-binding"]
    assert binding["alg"] == "org.example.lowest-bits"
    assert binding["blocks"] == [{"scope": {}, "value": payload_of("IMG1").hex()}]
