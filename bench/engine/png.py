"""Pictures as PNG files: this service's writer against Pillow's fastest way, in turns.

Also how long the thumbnails of a picture take.

python -m bench.engine.png
"""

from __future__ import annotations

import argparse
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from bench.stats import machine, milliseconds, summary, write_result
from cascade_core.images.image_files import encode_thumbnails
from cascade_core.images.pixels import Rgb
from cascade_core.images.png_writer import encode_png
from serve.storage.blobs.blob_keys import THUMBNAIL_SIDES_PX

SIDES_PX = (256, 1024)
TARGET_RATIO = 0.2
THUMBNAILS_TARGET_MS = 15


def main() -> None:
    """Write every picture both ways, check that both hold its pixels, and write the result."""
    where, repeats = machine(), _arguments().repeats
    pictures = {"photo-like": photo, "drawn": _drawn}
    rows = {
        f"{name}, {side}x{side}": _measure(make(side), repeats)
        for side in SIDES_PX
        for name, make in pictures.items()
    }
    lines = [
        "| picture | Pillow, run lengths only | size | Cascade Serve | size | ratio of medians "
        "| thumbnails | another thread stands still |",
        "|---" * 8 + "|",
    ]
    for name, row in rows.items():
        pillow, ours = (
            f"{milliseconds(row[way]['encode_s'])} | {row[way]['bytes'] / 1e3:.0f} KB"
            for way in ("pillow", "ours")
        )
        small, still = (milliseconds(row[part]) for part in ("thumbnails_s", "still_s"))
        ratio = f"{row['ratio']:.2f}"
        lines.append(f"| {name} | {pillow} | {ours} | {ratio} | {small} | {still} |")
    lines += [
        "",
        f"Targets for the photo-like picture of 1024 px: a ratio of {TARGET_RATIO}, "
        f"{THUMBNAILS_TARGET_MS} ms for its thumbnails of 256 and 512 px. The last column is the "
        "longest time for which a thread that computes, as the model's does, waits meanwhile.",
    ]
    write_result("png", {"machine": where, "rows": rows}, "\n".join(lines))


def photo(side_px: int) -> Rgb:
    """Return smooth colours of many sizes, and grain."""
    rng = np.random.default_rng(0)
    picture = rng.standard_normal((side_px, side_px, 1)) * 0.04
    cells = 4
    while cells < side_px:
        layer = rng.standard_normal((3, cells, cells)).astype(np.float32) / cells
        resized = [
            Image.fromarray(channel).resize((side_px, side_px), Image.Resampling.BICUBIC)
            for channel in layer
        ]
        picture = picture + 4 * np.stack([np.asarray(channel) for channel in resized], axis=-1)
        cells *= 2
    return (128 + 50 * picture).clip(0, 255).astype(np.uint8)


def _drawn(side_px: int) -> Rgb:
    """Return a ring and a checkered square on a flat background."""
    rows, columns = np.mgrid[0:side_px, 0:side_px] / side_px
    picture = np.full((side_px, side_px, 3), (250, 240, 225), np.uint8)
    distance = np.hypot(rows - 0.35, columns - 0.35)
    picture[(distance > 0.12) & (distance < 0.25)] = (200, 30, 40)
    square = (np.abs(rows - 0.75) < 0.15) & (np.abs(columns - 0.7) < 0.2)
    picture[square & ((rows * 20).astype(int) % 2 == (columns * 20).astype(int) % 2)] = (20, 60, 90)
    return picture


def _measure(pixels_hwc: Rgb, repeats: int) -> dict[str, Any]:
    ways = {"pillow": _pillow, "ours": _ours}
    files = {name: encode(pixels_hwc) for name, encode in ways.items()}
    for name, data in files.items():
        if not np.array_equal(np.asarray(Image.open(BytesIO(data))), pixels_hwc):
            raise RuntimeError(f"{name}: the file has other pixels")
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, encode in ways.items():
            started_s = time.perf_counter()
            encode(pixels_hwc)
            samples[name].append(time.perf_counter() - started_s)
    row: dict[str, Any] = {
        name: {"encode_s": summary(samples[name]), "bytes": len(files[name])} for name in ways
    }
    row["thumbnails_s"], row["still_s"] = _thumbnails(pixels_hwc, repeats)
    row["ratio"] = row["ours"]["encode_s"]["median"] / row["pillow"]["encode_s"]["median"]
    return row


def _thumbnails(pixels_hwc: Rgb, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return how long thumbnails take, and how long they hold up a thread that computes."""
    alone_s, still_s = [], []
    with ThreadPoolExecutor(1) as other:
        for _ in range(repeats):
            started_s = time.perf_counter()
            encode_thumbnails(pixels_hwc, THUMBNAIL_SIDES_PX)
            alone_s.append(time.perf_counter() - started_s)
            making = other.submit(encode_thumbnails, pixels_hwc, THUMBNAIL_SIDES_PX)
            longest_s, last_s = 0.0, time.perf_counter()
            while not making.done():
                now_s = time.perf_counter()
                longest_s, last_s = max(longest_s, now_s - last_s), now_s
            still_s.append(longest_s)
    return summary(alone_s), summary(still_s)


def _ours(pixels_hwc: Rgb) -> bytes:
    return encode_png(pixels_hwc, {})


def _pillow(pixels_hwc: Rgb) -> bytes:
    file = BytesIO()
    image = Image.fromarray(pixels_hwc)
    image.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return file.getvalue()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.engine.png", description=__doc__)
    parser.add_argument("--repeats", type=int, default=50, help="of each way and picture")
    return parser.parse_args()


if __name__ == "__main__":
    main()
