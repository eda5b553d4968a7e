"""Makes the pictures of the studio in README.md: `python -m docs.studio_pictures`.

It needs a running service of the demo model without keys and without pictures, such as
`CASCADE_DATA_DIR=$(mktemp -d) make up`, and Debian's Chromium. What is seen is a real run: the
first job is filmed from the prompt to the picture.
"""

import argparse
import asyncio
import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from PIL import Image

from tests.studio.browser import launched

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, ViewportSize

FOLDER: Final = Path(__file__).parent / "pictures"
WIDE_PX: Final = (1280, 800)
PHONE_PX: Final = (390, 800)
FILM_PX: Final = (960, 600)
FILM_S: Final = 10.0
MIN_FRAME_S: Final = 0.12
LAST_MS: Final = 1500
LATE_MS: Final = 4000
"""Frames may come so late on a busy machine."""
PROMPTS: Final = (
    "a large yellow star in the center on a blue background",
    "a large cyan ring in the center on a red background",
    "a large striped yellow circle in the middle on a purple background",
    "a large checkered orange square in the center on a black background",
    "a large dotted green square in the top left on a pink background",
)
FILMED: Final = "a large red heart in the center on a white background"
JOB_MS: Final = 120_000
IN_SIGHT_DECODED: Final = """() => Promise.all(
    [...document.images]
        .filter((image) => image.getBoundingClientRect().top < innerHeight)
        .map((image) => image.decode().catch(() => null)))"""
Theme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of the film, as a JPEG file, with its time in seconds."""

    at_s: float
    jpeg: bytes


def main() -> None:
    """Make every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    asyncio.run(make(parser.parse_args().url))


async def make(url: str) -> None:
    """Fill the service with pictures, and take those of its page."""
    async with launched() as browser:
        page = await opened(browser, f"{url}/studio", "dark")
        for prompt in PROMPTS:
            await create(page, prompt, pictures=4)
            await finished(page, prompt, pictures=4)
        await film(await opened(browser, f"{url}/studio", "dark"))
        await page.get_by_role("button", name="Vary details").first.click()
        await finished(page, FILMED, pictures=5)
        await save(page, "studio_create")
        await page.get_by_role("link", name=FILMED).first.click()
        await page.get_by_role("heading", name=FILMED).wait_for()
        await save(page, "studio_viewer")
        for name, path in (("studio_library", "/studio/library"), ("studio_phone", "/studio")):
            size = PHONE_PX if name == "studio_phone" else WIDE_PX
            shown = await opened(browser, f"{url}{path}", "light", size)
            await shown.get_by_role("img", name=FILMED).first.wait_for()
            await save(shown, name)


async def opened(
    browser: "Browser", url: str, theme: Theme, size_px: tuple[int, int] = WIDE_PX
) -> "Page":
    """Open a page in a window of (width, height) CSS pixels."""
    viewport: ViewportSize = {"width": size_px[0], "height": size_px[1]}
    context = await browser.new_context(color_scheme=theme, viewport=viewport, locale="en-US")
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_load_state("load")
    return page


async def create(page: "Page", prompt: str, pictures: int) -> None:
    """Ask for pictures, as a person does."""
    word = "picture" if pictures == 1 else "pictures"
    await page.get_by_role("radio", name=f"{pictures} {word}").check()
    await page.get_by_role("textbox", name="Prompt").fill(prompt)
    await page.keyboard.press("Enter")


async def finished(page: "Page", prompt: str, pictures: int) -> None:
    """Wait until so many pictures of a prompt are finished."""
    links = page.get_by_role("link", name=prompt)
    await links.nth(pictures - 1).wait_for(timeout=JOB_MS)


async def film(page: "Page") -> None:
    """Film a job from the prompt on, at its real speed."""
    frames: list[Frame] = []
    session = await page.context.new_cdp_session(page)

    async def take(event: dict[str, Any]) -> None:
        await session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        data = base64.b64decode(event["data"])
        if not frames or event["metadata"]["timestamp"] - frames[-1].at_s >= MIN_FRAME_S:
            frames.append(Frame(event["metadata"]["timestamp"], data))

    session.on("Page.screencastFrame", take)
    prompt = page.get_by_role("textbox", name="Prompt")
    await finished(page, PROMPTS[-1], pictures=4)
    await page.evaluate(IN_SIGHT_DECODED)
    width, height = FILM_PX
    size = {"maxWidth": width, "maxHeight": height}
    await session.send("Page.startScreencast", {"format": "jpeg", "quality": 92} | size)
    for end in range(0, len(FILMED), 6):
        await prompt.fill(FILMED[:end])
    await create(page, FILMED, pictures=4)
    await finished(page, FILMED, pictures=4)
    await page.evaluate(IN_SIGHT_DECODED)
    await page.wait_for_timeout(LATE_MS)
    await session.send("Page.stopScreencast")
    save_film(frames, FOLDER / "studio.gif")


async def shot(page: "Page") -> Image.Image:
    """Return what the page shows."""
    return Image.open(io.BytesIO(await page.screenshot())).convert("RGB")


async def save(page: "Page", name: str) -> None:
    """Save what the page shows once its pictures are loaded."""
    await page.evaluate(IN_SIGHT_DECODED)
    path = FOLDER / f"{name}.webp"
    (await shot(page)).save(path, quality=82, method=6)
    print(f"{path.name}: {path.stat().st_size // 1000} kB", flush=True)


def save_film(frames: Sequence[Frame], path: Path) -> None:
    """Save frames as a GIF; of a longer film the last seconds."""
    kept = [frame for frame in frames if frames[-1].at_s - frame.at_s <= FILM_S]
    pictures = [Image.open(io.BytesIO(frame.jpeg)).convert("RGB") for frame in kept]
    palette = beside(pictures[0], pictures[len(pictures) // 2], pictures[-1]).quantize(256)
    first, *others = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    shown_ms = [round((after.at_s - one.at_s) * 1000) for one, after in pairwise(kept)]
    first.save(path, save_all=True, append_images=others, duration=[*shown_ms, LAST_MS], loop=0)
    print(f"{path.name}: {len(kept)} frames, {path.stat().st_size // 1000} kB", flush=True)


def beside(*pictures: Image.Image) -> Image.Image:
    """Return pictures of one size beside each other: a palette of it has the colours of all."""
    width, height = pictures[0].size
    whole = Image.new("RGB", (width * len(pictures), height))
    for index, picture in enumerate(pictures):
        whole.paste(picture, (width * index, 0))
    return whole


if __name__ == "__main__":
    main()
