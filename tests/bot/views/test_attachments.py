"""Pictures as files that Discord accepts."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bot.views.attachments import MAX_REQUEST_BYTES, fit, fitted, numbered, picture_name
from cascade_core.images.ai_mark import PNG_KEY, AiMark


@pytest.mark.parametrize(
    ("prompt", "seeds", "name"),
    [
        ("a large red heart", (7, 7), "large-red-heart_s7"),
        ("A Ünïcode / ..\\x!", (7, 99), "unicode-x_s7_d99"),
        ("猫", (0, 0), "picture_s0"),
        ("the", (1, 1), "the_s1"),
        (
            "one two three four five six seven eight nine",
            (3, 3),
            "one-two-three-four-five-six-seven-eight_s3",
        ),
        ("x" * 99, (3, 3), "x" * 40 + "_s3"),
    ],
)
def test_a_file_is_named_after_what_it_shows(
    prompt: str, seeds: tuple[int, int], name: str
) -> None:
    assert picture_name(prompt, *seeds) == name


def noise_png(side_px: int) -> bytes:
    file = BytesIO()
    Image.effect_noise((side_px, side_px), 100).convert("RGB").save(file, "PNG")
    return file.getvalue()


def test_a_file_that_fits_is_the_original() -> None:
    data = noise_png(64)
    file = fit("a", data, len(data))
    assert (file.name, file.data, file.is_original) == ("a.png", data, True)


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_a_file_that_does_not_fit_becomes_a_webp_that_does(share: float) -> None:
    data = noise_png(600)
    limit = int(len(data) * share)
    file = fit("a", data, limit)
    assert file.name == "a.webp"
    assert not file.is_original
    assert len(file.data) <= limit
    with Image.open(BytesIO(file.data)) as image:
        assert image.format == "WEBP"
        assert b"trainedAlgorithmicMedia" in image.info["xmp"]


def test_a_smaller_file_keeps_what_the_picture_says_of_its_model() -> None:
    marks, file = PngInfo(), BytesIO()
    marks.add_itxt(PNG_KEY, AiMark("own model", "r1").packet())
    Image.effect_noise((300, 300), 100).save(file, "PNG", pnginfo=marks)
    smaller = fit("a", file.getvalue(), 20_000)
    with Image.open(BytesIO(smaller.data)) as image:
        assert b"own model" in image.info["xmp"]


async def test_several_files_share_what_one_request_may_hold() -> None:
    data = noise_png(64)
    limit = len(data)
    assert all(file.is_original for file in await fitted([("a", data)] * 4, limit))
    shrunk = await fitted([("a", data)], limit, shrink=1)
    assert not shrunk[0].is_original
    assert MAX_REQUEST_BYTES < 25 * 1024 * 1024


def test_a_number_is_written_into_the_corner_of_a_picture() -> None:
    file = BytesIO()
    Image.new("RGB", (192, 128), "red").save(file, "PNG")
    with Image.open(BytesIO(numbered(file.getvalue(), 3))) as shown:
        assert (shown.format, shown.size) == ("WEBP", (192, 128))
        pixels = shown.convert("RGB")
    corner = pixels.crop((0, 0, 16, 16)).convert("L").getextrema()
    assert corner[0] < 60 < 200 < corner[1], "a light number on a dark ground"
    red, green, _ = pixels.getpixel((150, 100))  # type: ignore[misc]
    assert red > 200 > 60 > green
