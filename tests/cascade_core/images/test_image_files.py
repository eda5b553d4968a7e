import io
import json
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from cascade_core.errors import HandoffInvalid, InvalidRequest
from cascade_core.families.modular import FLUX2_KLEIN, SDXL
from cascade_core.handoff import ModelRef
from cascade_core.images import image_files as images
from cascade_core.images.image_files import (
    MAX_FILE_SIDE_PX,
    ImageInfo,
    convert_image,
    encode_image,
    encode_preview,
    encode_thumbnails,
    parameters_text,
    read_info,
    read_pixels,
)
from cascade_core.operations.fields import ImageFormat
from cascade_core.request import GenerationRequest

FORMATS: tuple[ImageFormat, ...] = ("png", "webp", "jpeg")
every_format = pytest.mark.parametrize("image_format", FORMATS)
UNICODE_PROMPT = "ein Frosch \N{FROG FACE}, 水彩画, naïve\nsecond line"


def picture(height: int = 40, width: int = 64) -> Any:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 5, columns * 3, rows + columns], axis=-1).astype(np.uint8)


def info(**changes: Any) -> ImageInfo:
    body = {
        "prompt": "a red circle",
        "width": 512,
        "height": 256,
        "seed": 1,
        "decoder_seed": 2,
        **changes,
    }
    model = ModelRef("stabilityai/stable-cascade", "c" * 40, "0123456789abcdef")
    return ImageInfo("01IMAGE", "01LATENT", GenerationRequest(**body), model)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@every_format
@pytest.mark.parametrize("prompt", ["a red circle", UNICODE_PROMPT, "", "\N{FROG FACE}" * 2000])
def test_what_is_written_into_a_file_is_read_back(image_format: ImageFormat, prompt: str) -> None:
    written = info(prompt=prompt, negative_prompt=prompt)
    data = encode_image(picture(), image_format, written)

    assert opened(data).format == image_format.upper()
    assert read_info(data) == written.to_dict()
    assert written.to_dict() == {
        "v": 1,
        "image_id": "01IMAGE",
        "latent_id": "01LATENT",
        "request": written.request.to_dict(),
        "model": {
            "id": "stabilityai/stable-cascade",
            "revision": "c" * 40,
            "fingerprint": "0123456789abcdef",
        },
    }


def test_the_file_of_a_variation_says_what_it_is_derived_from() -> None:
    written = info(kind="vary_details", latent_id="01LATENT")
    found = read_info(encode_image(picture(), "png", written))
    assert found is not None
    assert found["derived_from"] == {
        "operation": "vary_details",
        "latent_id": "01LATENT",
        "strength": None,
    }


def test_png_keeps_every_pixel() -> None:
    assert np.array_equal(np.asarray(opened(encode_image(picture(), "png", info()))), picture())


@pytest.mark.parametrize("image_format", ["webp", "jpeg"])
def test_lossy_formats_keep_the_picture_recognisable(image_format: ImageFormat) -> None:
    decoded = np.asarray(opened(encode_image(picture(), image_format, info())), np.int16)

    assert decoded.shape == picture().shape
    assert np.abs(decoded - picture()).mean() < 4


def test_arrays_that_are_views_are_encoded_like_copies() -> None:
    flipped = picture()[::-1, ::-1]

    assert encode_image(flipped, "png", None) == encode_image(flipped.copy(), "png", None)


@every_format
def test_without_info_nothing_is_written(image_format: ImageFormat) -> None:
    data = encode_image(picture(), image_format, None)

    assert read_info(data) is None
    assert not opened(data).getexif()
    assert "parameters" not in opened(data).info


def test_the_parameters_text_is_what_other_tools_read() -> None:
    text = parameters_text(info(negative_prompt="blue"))

    assert text == (
        "a red circle\n"
        "Negative prompt: blue\n"
        "Steps: 20, Sampler: DDPM Wuerstchen, CFG scale: 4.0, Seed: 1, Size: 512x256, "
        "Model: stabilityai/stable-cascade, Model hash: 0123456789, "
        "Decoder steps: 10, Decoder CFG scale: 0.0, Decoder seed: 2"
    )


def test_the_parameters_are_those_that_the_models_family_has() -> None:
    plain = replace(info(negative_prompt="blue"), family=SDXL)
    distilled = replace(info(), family=FLUX2_KLEIN)
    model = "Model: stabilityai/stable-cascade, Model hash: 0123456789"

    assert parameters_text(plain).splitlines()[2] == (
        f"Steps: 20, CFG scale: 4.0, Seed: 1, Size: 512x256, {model}"
    )
    assert parameters_text(distilled).splitlines()[1] == (
        f"Steps: 20, Seed: 1, Size: 512x256, {model}"
    )


def test_the_parameters_of_a_variation_name_its_strength() -> None:
    text = parameters_text(info(kind="vary", latent_id="x", strength=0.7))
    assert text.endswith("Decoder seed: 2, Denoising strength: 0.7")


def test_without_negative_prompt_its_line_is_left_out() -> None:
    assert parameters_text(info(guidance_scale=3)).splitlines()[1].startswith("Steps: 20, ")
    assert "CFG scale: 3.0," in parameters_text(info(guidance_scale=3))


def test_a_model_name_with_commas_is_quoted() -> None:
    odd = ImageInfo("1", "2", info().request, ModelRef("mine, v2", "", "ab"))

    assert 'Model: "mine, v2", Model hash: ab,' in parameters_text(odd)


@pytest.mark.parametrize(("prompt", "chunk"), [("naïve", b"tEXt"), (UNICODE_PROMPT, b"iTXt")])
def test_png_holds_the_parameters_as_text_chunk(prompt: str, chunk: bytes) -> None:
    data = encode_image(picture(), "png", info(prompt=prompt))

    assert chunk + b"parameters\0" in data
    assert opened(data).info["parameters"] == parameters_text(info(prompt=prompt))


@pytest.mark.parametrize("image_format", ["webp", "jpeg"])
def test_webp_and_jpeg_hold_the_parameters_as_user_comment(image_format: ImageFormat) -> None:
    data = encode_image(picture(), image_format, info(prompt=UNICODE_PROMPT))
    comment = opened(data).getexif().get_ifd(0x8769)[0x9286]

    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be") == parameters_text(info(prompt=UNICODE_PROMPT))


@every_format
@pytest.mark.parametrize("target", FORMATS)
def test_converting_keeps_what_is_written_inside(
    image_format: ImageFormat, target: ImageFormat
) -> None:
    written = info(prompt=UNICODE_PROMPT)
    converted = convert_image(encode_image(picture(), image_format, written), target)

    assert opened(converted).format == target.upper()
    assert opened(converted).size == (64, 40)
    assert read_info(converted) == written.to_dict()
    back = opened(convert_image(converted, "png")).info.get("parameters")
    assert back == parameters_text(written)


@every_format
def test_a_file_of_that_format_comes_back_as_it_is(image_format: ImageFormat) -> None:
    data = encode_image(picture(), image_format, info())

    assert convert_image(data, image_format) is data


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "I;16"])
def test_pictures_of_other_modes_can_be_converted(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, "PNG")

    assert opened(convert_image(file.getvalue(), "jpeg")).mode == "RGB"
    assert read_info(file.getvalue()) is None


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
    ],
    ids=["grey", "channels first", "with alpha", "batch", "floats"],
)
def test_arrays_that_are_no_pictures_are_refused(array: Any) -> None:
    for encode in (encode_preview, lambda pixels: encode_image(pixels, "png", None)):
        with pytest.raises(HandoffInvalid):
            encode(array)


def test_a_preview_is_a_small_webp() -> None:
    data = encode_preview(picture(256, 256))

    assert opened(data).format == "WEBP"
    assert opened(data).size == (256, 256)
    assert len(data) < 4000


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", '{"v":2}', "[" * 100_000, '{"a":' * 9999, "NaN"]
)
def test_a_chunk_that_is_not_ours_is_no_info(text: str) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("cascade", text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=chunks)

    assert read_info(file.getvalue()) is None


def test_a_camera_note_is_no_info() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x927C: b"Nikon\0\2", 0x9286: b"ASCII\0\0\0hello"})
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)

    assert read_info(file.getvalue()) is None
    assert read_info(convert_image(file.getvalue(), "png")) is None


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + png_chunk(b"IEND", b"")


def huge_webp() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (MAX_FILE_SIDE_PX + 1, 8)).save(file, "WEBP")
    return file.getvalue()


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "GIF")
    return file.getvalue()


ZEROS = zlib.compress(b"\0" * 20_000_000)
HOSTILE = {
    "nothing": b"",
    "garbage": b"\x89PNG\r\n\x1a\n" + b"garbage" * 9,
    "another format": gif(),
    "a side of 2 billion": png(2**31 - 1, 2**31 - 1, png_chunk(b"IDAT", ZEROS)),
    "12000 x 12000": png(12_000, 12_000, png_chunk(b"IDAT", ZEROS)),
    "one pixel too wide": png(MAX_FILE_SIDE_PX + 1, 1, png_chunk(b"IDAT", ZEROS)),
    "a wide WebP": huge_webp(),
    "text that unpacks to 20 MB": png(
        8, 8, png_chunk(b"zTXt", b"cascade\0\0" + ZEROS), png_chunk(b"IDAT", ZEROS)
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_little_memory(name: str) -> None:
    tracemalloc.start()
    try:
        for read in (read_info, lambda data: convert_image(data, "webp")):
            with pytest.raises(InvalidRequest) as caught:
                read(HOSTILE[name])
            assert caught.value.field == "image"
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 4 * 2**20


@every_format
def test_files_over_the_limit_are_refused(
    image_format: ImageFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_image(picture(), image_format, info())
    monkeypatch.setattr(images, "MAX_FILE_BYTES", len(data) - 1)

    for read in (read_info, lambda file: convert_image(file, image_format)):
        with pytest.raises(InvalidRequest, match="at most"):
            read(data)


@every_format
def test_a_truncated_file_cannot_be_converted(image_format: ImageFormat) -> None:
    data = encode_image(picture(), image_format, None)
    target: ImageFormat = "jpeg" if image_format == "png" else "png"

    with pytest.raises(InvalidRequest, match="sound"):
        convert_image(data[: len(data) // 2], target)


FILES = {name: encode_image(picture(), name, info()) for name in FORMATS}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.sampled_from(FORMATS), st.sampled_from(FORMATS), st.data())
def test_damaged_files_raise_only_our_error(
    image_format: ImageFormat, target: ImageFormat, data: st.DataObject
) -> None:
    damaged = bytearray(FILES[image_format])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    for read in (read_info, lambda file: convert_image(file, target)):
        try:
            read(bytes(damaged))
        except InvalidRequest:
            continue


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)))
def test_whatever_json_is_inside_info_is_a_dict_or_none(body: dict[str, Any]) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("cascade", json.dumps(body | {"v": 1}))
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=chunks)

    assert read_info(file.getvalue()) == body | {"v": 1}


@pytest.mark.parametrize(
    ("sides", "expected"), [((40, 64), {16: 16, 32: 32}), ((20, 12), {16: 16, 32: 20})]
)
def test_thumbnails_are_small_bare_and_of_the_pictures_aspect(
    sides: tuple[int, int], expected: dict[int, int]
) -> None:
    pixels_hwc = picture(*sides)
    files = encode_thumbnails(pixels_hwc, (16, 32))
    assert {side_px: max(opened(file).size) for side_px, file in files.items()} == expected
    for file in files.values():
        small = opened(file)
        assert small.format == "WEBP"
        assert small.width * sides[0] == pytest.approx(small.height * sides[1], rel=0.1)
        assert not small.getexif()
    assert pixels_hwc.shape == (*sides, 3), "the picture itself stays as it is"


@every_format
def test_pixels_are_read_from_every_format(image_format: ImageFormat) -> None:
    read = read_pixels(encode_image(picture(), image_format, info()))
    assert read.shape == picture().shape
    if image_format == "png":
        assert np.array_equal(read, picture())
    with pytest.raises(InvalidRequest):
        read_pixels(b"no picture")


@every_format
def test_a_file_without_texts_holds_seeds_and_ids_but_no_prompt(image_format: ImageFormat) -> None:
    written = replace(info(prompt="a secret", negative_prompt="a secret too"), has_texts=False)
    data = encode_image(picture(), image_format, written)
    assert b"secret" not in data.replace(b"\0", b"")
    found = read_info(data)
    assert found is not None
    assert (found["latent_id"], found["request"]["seed"]) == ("01LATENT", 1)
    assert "Steps: " in parameters_text(written)
