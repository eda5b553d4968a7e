"""Makes the pictures of docs/discord-bot.md, and others to look at, from one run of the real bot.

``python -m tests.wire.screens [FOLDER]``: everything goes to FOLDER (default ``out/screens``), and
what that page shows to ``bot/pictures``.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.wire.screens import chromium
from tests.wire.screens.film import write_film, write_screen
from tests.wire.screens.page import DESKTOP_PX, PHONE_PX
from tests.wire.screens.story import record

ROOT = Path(__file__).parents[3]
ON_THE_PAGE = ("four", "edit", "german")


def main(folder: Path) -> None:
    """Play the story once and draw it."""
    if chromium.find() is None:
        sys.exit(chromium.NOTICE)
    with TemporaryDirectory() as data:
        recording = asyncio.run(record(Path(data)))
    folder.mkdir(parents=True, exist_ok=True)
    kept = ROOT / "bot" / "pictures"
    kept.mkdir(exist_ok=True)
    write_film(kept / "demo.gif", recording.film)
    for name, parts in recording.screens.items():
        for width_px in (DESKTOP_PX, PHONE_PX):
            write_screen(folder / f"{name}-{width_px}.webp", parts, width_px)
        write_screen(folder / f"{name}-light.webp", parts, PHONE_PX, light=True)
        if name in ON_THE_PAGE:
            shutil.copy(folder / f"{name}-{PHONE_PX}.webp", kept / f"{name}.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "out" / "screens")
