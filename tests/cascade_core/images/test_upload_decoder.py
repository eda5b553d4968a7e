"""Attacks by uploaded files, and the odd but honest files that cameras and programs write."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from cascade_core.errors import InvalidRequest
from cascade_core.images import upload_decoder
from cascade_core.images.upload_decoder import decode_upload
from cascade_core.images.upload_limits import MAX_UPLOAD_BYTES

FORMATS = ("PNG", "JPEG", "WEBP")
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def file(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, image_format, **options)
    return written.getvalue()


def plain(width: int = 64, height: int = 48, colour: Any = RED, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def half_red(width: int = 64, height: int = 48) -> Image.Image:
    """Red on the left, blue on the right."""
    image = plain(width, height, BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image


def png(width: int, height: int, *chunks: tuple[bytes, bytes], idat: bytes = b"") -> bytes:
    """A PNG file made by hand: grey, 8 bits."""
    head = struct.pack(">II5B", width, height, 8, 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in [(b"IHDR", head), *chunks, (b"IDAT", idat), (b"IEND", b"")]:
        parts += [struct.pack(">I", len(data)), name, data]
        parts.append(struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


def exif(orientation: int) -> Image.Exif:
    written = Image.Exif()
    written[0x0112] = orientation
    return written


def mean(pixels_hwc: Any) -> list[int]:
    colour: list[int] = pixels_hwc.reshape(-1, 3).mean(0).round().astype(int).tolist()
    return colour


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_picture_becomes_its_pixels(image_format: str) -> None:
    pixels_hwc = decode_upload(file(half_red(), image_format))

    assert pixels_hwc.shape == (48, 64, 3)
    assert pixels_hwc.dtype == np.uint8
    np.testing.assert_allclose(pixels_hwc[24, 8], RED, atol=8)
    np.testing.assert_allclose(pixels_hwc[24, 56], BLUE, atol=8)


def test_png_keeps_every_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)

    np.testing.assert_array_equal(decode_upload(file(Image.fromarray(noise))), noise)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize(
    ("orientation", "red_is"),
    [(1, "left"), (2, "right"), (3, "right"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")],
)
def test_a_camera_that_was_turned_gives_an_upright_picture(
    image_format: str, orientation: int, red_is: str
) -> None:
    pixels_hwc = decode_upload(file(half_red(), image_format, exif=exif(orientation)))

    is_wide = red_is in ("left", "right")
    assert pixels_hwc.shape == ((48, 64, 3) if is_wide else (64, 48, 3))
    middle = {"left": (24, 8), "right": (24, 56), "top": (8, 24), "bottom": (56, 24)}[red_is]
    np.testing.assert_allclose(pixels_hwc[middle], RED, atol=8)


@pytest.mark.parametrize("junk", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\0" * 4000])
def test_damaged_exif_counts_as_none(junk: bytes) -> None:
    pixels_hwc = decode_upload(file(half_red(), "JPEG", exif=junk))

    assert pixels_hwc.shape == (48, 64, 3)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_unknown_orientation_turns_nothing(value: int) -> None:
    assert decode_upload(file(half_red(), "JPEG", exif=exif(value))).shape == (48, 64, 3)


@pytest.mark.parametrize(
    "image",
    [
        plain(colour=(0, 0, 0, 0), mode="RGBA"),
        plain(colour=(0, 0), mode="LA"),
        plain(colour=0, mode="P"),
        plain(colour=0, mode="L"),
        plain(colour=0, mode="1"),
    ],
    ids=lambda image: image.mode,
)
def test_what_is_transparent_shows_white(image: Image.Image) -> None:
    options = {} if image.mode in ("RGBA", "LA") else {"transparency": 0}

    assert mean(decode_upload(file(image, **options))) == [255, 255, 255]


def test_half_transparent_colour_is_mixed_with_white() -> None:
    assert mean(decode_upload(file(plain(colour=(255, 0, 0, 128), mode="RGBA")))) == [255, 127, 127]


def test_a_palette_with_a_transparency_for_each_colour_is_composited() -> None:
    image = plain(colour=1, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0])

    pixels_hwc = decode_upload(file(image, transparency=bytes([255, 128])))

    np.testing.assert_allclose(mean(pixels_hwc), [255, 127, 127], atol=1)


def test_of_16_bits_the_upper_8_are_used() -> None:
    grey = Image.fromarray(np.full((40, 40), 0x80FF, np.uint16))

    assert mean(decode_upload(file(grey))) == [128, 128, 128]


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)])
def test_16_bits_a_channel_are_read(colour_type: int, channels: int) -> None:
    row = b"\0" + struct.pack(">4H", *[0xC000] * 3, 0xFFFF)[: 2 * channels] * 40
    head = struct.pack(">II5B", 40, 40, 16, colour_type, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in [(b"IHDR", head), (b"IDAT", zlib.compress(row * 40)), (b"IEND", b"")]:
        data += struct.pack(">I", len(body)) + name + body
        data += struct.pack(">I", zlib.crc32(name + body))

    assert mean(decode_upload(data)) == [192, 192, 192]


def test_cmyk_becomes_rgb() -> None:
    pixels_hwc = decode_upload(file(plain(colour=(0, 255, 255, 0), mode="CMYK"), "JPEG"))

    np.testing.assert_allclose(mean(pixels_hwc), RED, atol=8)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_of_an_animation_the_first_picture_counts(image_format: str) -> None:
    others = [plain(colour=BLUE), plain(colour=WHITE)]
    data = file(plain(), image_format, save_all=True, append_images=others, lossless=True)

    assert mean(decode_upload(data)) == [255, 0, 0]


def test_of_a_jpeg_file_with_several_pictures_the_first_counts() -> None:
    data = file(plain(), "MPO", save_all=True, append_images=[plain(colour=BLUE)])

    np.testing.assert_allclose(mean(decode_upload(data)), RED, atol=8)


def swapped_profile() -> bytes:
    """A profile whose channels have other primaries than sRGB: Adobe's are wider."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(profile[at : at + 4]): at
        for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)
    }
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_colour_profile_is_converted_to_srgb(image_format: str) -> None:
    data = file(plain(), image_format, icc_profile=swapped_profile())

    np.testing.assert_allclose(mean(decode_upload(data)), BLUE, atol=8)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("profile", [b"x", b"\0" * 128, b"acsp" * 1000])
def test_a_damaged_colour_profile_is_ignored(image_format: str, profile: bytes) -> None:
    data = file(plain(), image_format, icc_profile=profile)

    np.testing.assert_allclose(mean(decode_upload(data)), RED, atol=8)


def test_a_profile_for_another_kind_of_pixels_is_ignored() -> None:
    data = file(plain(colour=128, mode="L"), "JPEG", icc_profile=swapped_profile())

    assert mean(decode_upload(data)) == [128, 128, 128]


def test_a_huge_colour_profile_is_ignored() -> None:
    huge = swapped_profile() + b"\0" * (5 * 1024 * 1024)
    data = file(plain(), "JPEG", icc_profile=huge)
    assert len(data) > len(huge)

    np.testing.assert_allclose(mean(decode_upload(data)), RED, atol=8)


def test_a_png_file_whose_profile_unpacks_to_more_than_a_text_may_is_refused() -> None:
    data = file(plain(), icc_profile=swapped_profile() + bytes(1024 * 1024))
    assert len(data) < 8 * 1024

    with pytest.raises(InvalidRequest):
        decode_upload(data)


@pytest.mark.parametrize("size", [(1, 1), (31, 100), (20000, 1), (20000, 40), (40, 16385)])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_sides_out_of_range_are_refused(size: tuple[int, int], image_format: str) -> None:
    with pytest.raises(InvalidRequest, match=r"32 to 16384 px, got \d+x\d+") as caught:
        decode_upload(file(plain(*size), image_format))

    assert caught.value.field == "file"


@pytest.mark.parametrize("size", [(8000, 6251), (16384, 16384)])
def test_too_many_pixels_are_refused_before_they_are_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", None)  # would be a TypeError, and a "damaged" file

    with pytest.raises(InvalidRequest, match="50000000 pixels"):
        decode_upload(png(*size, idat=zlib.compress(b"\0")))


def test_a_size_beyond_pillows_own_limit_is_refused_as_too_large() -> None:
    with pytest.raises(InvalidRequest, match=r"pixels|px"):
        decode_upload(png(60_000, 60_000, idat=zlib.compress(b"\0")))


def test_more_bytes_than_allowed_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=f"at most {MAX_UPLOAD_BYTES} bytes"):
        decode_upload(file(plain()) + bytes(MAX_UPLOAD_BYTES))


def test_text_that_unpacks_to_much_more_is_refused_in_little_memory() -> None:
    bomb = b"Comment\0\0" + zlib.compress(bytes(64 * 1024 * 1024))
    data = png(64, 64, (b"zTXt", bomb), idat=zlib.compress(bytes(65 * 64)))
    tracemalloc.start()

    with pytest.raises(InvalidRequest):
        decode_upload(data)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * 1024 * 1024


def test_pixels_that_unpack_beyond_the_picture_are_not_kept() -> None:
    idat = zlib.compress(bytes(64 * 1024 * 1024))

    assert mean(decode_upload(png(64, 64, idat=idat))) == [0, 0, 0]


def test_a_jpeg_file_of_thousands_of_scans_is_refused() -> None:
    data = file(plain(), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    many = data[:scan] + data[scan:-2] * 5000 + data[-2:]

    with pytest.raises(InvalidRequest, match="at most 100 scans"):
        decode_upload(many)


def repeated_scans(data: bytes, scans: int) -> bytes:
    """Repeat the last scan of a progressive file."""
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - data.count(b"\xff\xda")) + data[-2:]


def test_a_large_jpeg_file_may_have_fewer_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file(plain(4000, 3125), "JPEG", progressive=True)
    assert decode_upload(repeated_scans(data, 80)).shape == (2048, 2621, 3)
    monkeypatch.setattr(Image.Image, "load", None)  # would be a TypeError, and a "damaged" file

    with pytest.raises(InvalidRequest, match="at most 80 scans, got 81"):
        decode_upload(repeated_scans(data, 81))


@pytest.mark.parametrize(
    ("image_format", "mode"), [("PNG", "P"), ("PNG", "RGBA"), ("WEBP", "RGBA")]
)
def test_a_picture_with_transparency_may_have_fewer_pixels(
    image_format: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"transparency": 0} if mode == "P" else {}
    data = file(plain(5000, 5001, colour=0, mode=mode), image_format, **options)
    monkeypatch.setattr(Image.Image, "load", None)

    with pytest.raises(InvalidRequest, match="with transparency must have at most 25000000"):
        decode_upload(data)


def test_a_progressive_file_is_read() -> None:
    assert decode_upload(file(half_red(), "JPEG", progressive=True)).shape == (48, 64, 3)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_a_file_that_is_cut_short_is_refused(image_format: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = file(noise, image_format)

    with pytest.raises(InvalidRequest, match="sound PNG, JPEG or WebP"):
        decode_upload(data[: int(len(data) * share)])


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000", "PDF"])
def test_other_formats_are_refused(image_format: str) -> None:
    with pytest.raises(InvalidRequest, match="sound PNG, JPEG or WebP"):
        decode_upload(file(plain(), image_format))


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"RIFF\0\0\0\0WEBP", b"<svg/>", b"%!PS", b"\0" * 1000]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="sound PNG, JPEG or WebP"):
        decode_upload(data)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_any_damage_gives_a_picture_or_our_error(image_format: str, data: st.DataObject) -> None:
    whole = bytearray(file(half_red(40, 40), image_format, exif=exif(6)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))

    try:
        pixels_hwc = decode_upload(bytes(whole))
    except InvalidRequest:
        return
    assert pixels_hwc.ndim == 3
    assert pixels_hwc.shape[2] == 3
    assert pixels_hwc.dtype == np.uint8


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_large_photo_is_reduced_to_what_outputs_need(image_format: str) -> None:
    pixels_hwc = decode_upload(file(half_red(2800, 2100), image_format))

    assert pixels_hwc.shape == (2048, 2731, 3)
    np.testing.assert_allclose(pixels_hwc[1000, 100], RED, atol=8)


def test_a_huge_jpeg_file_is_not_decoded_at_its_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    opaque = upload_decoder._opaque

    def watched(image: Image.Image) -> Image.Image:
        seen.append(image.size)
        return opaque(image)

    monkeypatch.setattr(upload_decoder, "_opaque", watched)

    pixels_hwc = decode_upload(file(half_red(5600, 4200), "JPEG"))

    assert seen == [(2800, 2100)]
    assert pixels_hwc.shape == (2048, 2731, 3)


def test_a_long_panorama_keeps_its_aspect() -> None:
    assert decode_upload(file(half_red(16384, 256))).shape == (128, 8192, 3)


def test_the_largest_kept_picture_fits_into_a_stored_file_even_as_noise() -> None:
    kept = upload_decoder.MAX_KEPT_SIDE_PX * upload_decoder.MAX_SIDE_PX
    assert kept * 3 < 64 * 1024 * 1024
