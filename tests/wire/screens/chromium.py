"""Pages as pictures, drawn by Chromium without a window."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageChops

NOTICE = (
    "Chromium is not here, so nothing can be drawn; on Debian it comes with "
    "`apt-get install chromium-headless-shell fonts-noto-color-emoji fonts-inter`"
)
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
"""The first has no windows of its own, and needs half of the CPU time for the same pages."""
_TIMEOUT_S = 60.0
_FLAGS = (
    "--headless",
    "--no-sandbox",  # it draws our own pages only, and refuses to run as root with one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def find() -> str | None:
    """Return where Chromium is."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def draw(page: str, width_px: int, height_px: int, scale: int = 1) -> Image.Image:
    """Return a picture of an HTML page in a window of a size in CSS pixels.

    Raises:
        FileNotFoundError: there is no Chromium.
        subprocess.SubprocessError: it failed.
    """
    chromium = find()
    if chromium is None:
        raise FileNotFoundError(NOTICE)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "page.html").write_text(page, "utf-8")
        told = (
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width_px},{height_px}",
            f"--force-device-scale-factor={scale}",
            f"--screenshot={folder / 'page.png'}",
            (folder / "page.html").as_uri(),
        )
        command = [chromium, *_FLAGS, *told]
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
        with Image.open(folder / "page.png") as drawn:
            return drawn.convert("RGB")


def trimmed(picture: Image.Image) -> Image.Image:
    """Return a picture without what is below the last row that differs from its last one."""
    ground = Image.new("RGB", picture.size, picture.getpixel((0, picture.height - 1)))
    box = ImageChops.difference(picture, ground).getbbox()
    below_px = 8
    return picture.crop((0, 0, picture.width, min(picture.height, (box or (0,) * 4)[3] + below_px)))
