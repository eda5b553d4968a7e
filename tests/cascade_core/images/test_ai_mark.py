from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cascade_core.handoff import ModelRef
from cascade_core.images.ai_mark import SOURCE_TYPE, AiMark, read_mark
from cascade_core.images.image_files import (
    ImageInfo,
    convert_image,
    encode_image,
    encode_preview,
    encode_thumbnails,
)
from cascade_core.operations.fields import ImageFormat
from cascade_core.request import GenerationRequest

FORMATS: tuple[ImageFormat, ...] = ("png", "webp", "jpeg")
PIXELS = np.zeros((8, 8, 3), np.uint8)
MODEL = ModelRef("studio/fine & <own>", "c" * 40, "0123456789abcdef")
REQUEST = GenerationRequest(prompt="a secret", width=256, height=256, seed=1, decoder_seed=2)
INFO = ImageInfo("01IMAGE", "01LATENT", REQUEST, MODEL)
OF_MODEL = {"AISystemUsed": MODEL.id, "AISystemVersionUsed": MODEL.revision}


def marked(data: bytes) -> dict[str, str]:
    """Return the IPTC fields in a file, as an XML reader sees them."""
    packet = Image.open(io.BytesIO(data)).info["xmp"]
    assert b"secret" not in packet
    (description,) = ET.fromstring(packet.decode())[0]
    named = {name.partition("}")[2]: value for name, value in description.attrib.items()}
    assert named.pop("about") == ""
    assert named.pop("DigitalSourceType") == SOURCE_TYPE
    return named


@pytest.mark.parametrize("image_format", FORMATS)
def test_every_picture_is_marked_as_made_by_its_model(image_format: ImageFormat) -> None:
    assert marked(encode_image(PIXELS, image_format, INFO)) == OF_MODEL


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("keeps_info", [True, False])
def test_the_mark_stays_in_conversions_also_in_those_without_texts(
    source: ImageFormat, target: ImageFormat, keeps_info: bool
) -> None:
    data = encode_image(PIXELS, source, INFO)
    assert marked(convert_image(data, target, keeps_info=keeps_info)) == OF_MODEL


def test_previews_and_thumbnails_are_marked_without_a_model() -> None:
    for data in (encode_preview(PIXELS), *encode_thumbnails(PIXELS, (4, 2)).values()):
        assert marked(data) == {}


def test_a_file_of_an_earlier_release_gets_the_mark_of_the_model_that_it_names() -> None:
    old = io.BytesIO()
    made = Image.open(io.BytesIO(encode_image(PIXELS, "jpeg", INFO)))
    made.save(old, "JPEG", exif=made.info["exif"], xmp=b"")
    assert "xmp" not in Image.open(old).info
    assert marked(convert_image(old.getvalue(), "png")) == OF_MODEL


@pytest.mark.parametrize("model", ["text", ["list"], None, {"id": 5}])
def test_a_foreign_file_that_names_no_model_soundly_is_converted_all_the_same(model: Any) -> None:
    from json import dumps

    from PIL import PngImagePlugin

    chunks, file = PngImagePlugin.PngInfo(), io.BytesIO()
    chunks.add_text("cascade", dumps({"v": 1, "model": model}))
    Image.fromarray(PIXELS).save(file, "PNG", pnginfo=chunks)
    assert "AISystemVersionUsed" not in marked(convert_image(file.getvalue(), "webp"))


@given(st.text(), st.text())
def test_any_name_of_a_model_makes_a_sound_packet_that_is_read_again(name: str, rev: str) -> None:
    packet = AiMark(name, rev).packet()
    ET.fromstring(packet)
    again = read_mark(packet)
    assert again is not None
    assert again.packet() == packet


@given(st.text())
def test_a_packet_of_another_program_is_no_mark(text: str) -> None:
    assert read_mark(text) is None
