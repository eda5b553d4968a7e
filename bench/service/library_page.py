"""The library's page in Chromium with 100,000 pictures, beside a plain page of the same thumbnails.

    python -m bench.service.library_page

The gateway, its SQLite database and the browser share this machine; no stage runs. Needs Debian's
Chromium and what `make test` installs.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image

from bench.service.library import PICTURES, fill
from bench.stats import machine, summary, write_result
from serve.storage.blobs.blob_keys import THUMBNAIL_SIDES_PX, thumbnail_key
from tests.studio.browser import launched
from tests.studio.service import Service, running

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

REPEATS: Final = 9
SCREENS: Final = 50
LINKS: Final = 50_000
"""Of one file; file systems allow some more."""
VIEWPORT: Final = {"width": 1280, "height": 900}
TARGETS: Final = {
    "first contentful paint": "<= 500 ms",
    "first screen complete": "<= 2000 ms",
    "search, from the last letter to the pictures": "none",
    "jump to the oldest picture": "<= 1000 ms",
    "most elements at any scroll": "<= 1500",
    "longest task while scrolling": "<= 100 ms",
    "heap growth after 50 screens": "<= 30 MB",
}
_IS_COMPLETE = """([selector, part]) => new Promise((resolve) => {
    const look = () => {
        const box = document.querySelector(selector)?.getBoundingClientRect();
        const inside = ({ top, bottom }) => box && bottom > box.top && top < box.bottom;
        const images = [...document.querySelectorAll(`${selector} img`)]
            .filter((image) => inside(image.getBoundingClientRect()));
        const isLoaded = images.every((image) => image.complete && image.naturalWidth);
        const isThere = !part || document.querySelector(part);
        if (images.length && isLoaded && isThere) resolve(performance.now());
        else requestAnimationFrame(look);
    };
    look();
})"""
_FIRST_PAINT = """() => new Promise((resolve) => {
    new PerformanceObserver((list) => {
        const found = list.getEntriesByName("first-contentful-paint")[0];
        if (found) resolve(found.startTime);
    }).observe({ type: "paint", buffered: true });
})"""
_SCROLL = """async (screens) => {
    const scroller = document.querySelector(".grid-scroller");
    const tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map((one) => one.duration)))
        .observe({ type: "longtask" });
    let most = 0;
    for (let screen = 0; screen < screens; screen++) {
        scroller.scrollTop += scroller.clientHeight;
        await new Promise((resolve) => setTimeout(resolve, 250));
        most = Math.max(most, document.querySelectorAll("*").length);
    }
    return { most, longest: Math.max(0, ...tasks), tasks: tasks.length };
}"""


def main() -> None:
    """Fill a database, measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.service.library_page")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    count, where = parser.parse_args().pictures, machine()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measured(Path(folder), count))
    result = {"machine": where, "pictures": count, **found}
    write_result("library_page", result, table(result))


async def _measured(folder: Path, count: int) -> dict[str, Any]:
    async with running(folder) as service, launched() as browser:
        await asyncio.to_thread(_seed, service, count)
        loads = [await _load(browser, f"{service.url}/studio/library") for _ in range(REPEATS)]
        plain = [await _load_plain(browser, service, count) for _ in range(REPEATS)]
        return {
            "page": {name: summary([one[name] for one in loads]) for name in loads[0]},
            "plain": {name: summary([one[name] for one in plain]) for name in plain[0]},
            "use": await _use(browser, service),
        }


def _seed(service: Service, count: int) -> None:
    """Record pictures, each with thumbnails of noise: links to files of usual sizes."""
    fill(service.services.database, count)
    service.services.database.library.enter_missing()
    blobs = Path(unquote(urlsplit(service.services.settings.blob_url).path))
    blobs.joinpath("images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for side_px in THUMBNAIL_SIDES_PX:
        noise = rng.integers(0, 255, (side_px // 8, side_px // 8, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).resize((side_px, side_px)).save(buffer, "WEBP", quality=90)
        for number in range(count):
            target = blobs / thumbnail_key(f"I{number}", side_px)
            if number % LINKS == 0:
                source = target
                source.write_bytes(buffer.getvalue())
            else:
                os.link(source, target)


async def _new_page(browser: Browser) -> Page:
    context = await browser.new_context(viewport=VIEWPORT, locale="en-US")  # type: ignore[arg-type]
    return await context.new_page()


async def _load(browser: Browser, url: str) -> dict[str, float]:
    """Open the page in a browser that has nothing of it yet; milliseconds from the navigation."""
    return await _timed(await _new_page(browser), url, ".grid-scroller")


async def _load_plain(browser: Browser, service: Service, count: int) -> dict[str, float]:
    """Open a page that is nothing but as many of the same thumbnails."""
    newest = range(count - 1, max(count - 43, -1), -1)
    images = "".join(f'<img src="/v1/thumbs/I{number}?w=256" width=190>' for number in newest)
    html = f'<!doctype html><title>Plain</title><div class="plain">{images}</div>'
    page = await _new_page(browser)
    url = f"{service.url}/plain"
    await page.route(url, lambda route: route.fulfill(content_type="text/html", body=html))
    return await _timed(page, url, ".plain")


async def _timed(page: Page, url: str, selector: str) -> dict[str, float]:
    """Open a page and close it; milliseconds until it and the images in an element are there."""
    await page.goto(url, wait_until="commit")
    complete_ms = await page.evaluate(_IS_COMPLETE, [selector, ""])
    found = {
        "first contentful paint": await page.evaluate(_FIRST_PAINT),
        "first screen complete": complete_ms,
    }
    await page.context.close()
    return found


async def _use(browser: Browser, service: Service) -> dict[str, Any]:
    """Search, jump and scroll in one page."""
    page = await _new_page(browser)
    await page.goto(f"{service.url}/studio/library")
    await page.evaluate(_IS_COMPLETE, [".grid-scroller", ""])
    searches = [await _search(page, word) for word in random.Random(0).sample(range(20, 400), 9)]
    jumps = []
    for _ in range(REPEATS):
        await page.goto(f"{service.url}/studio/library")
        await page.evaluate(_IS_COMPLETE, [".grid-scroller", ""])
        begun_ms = await page.evaluate("() => performance.now()")
        await page.keyboard.press("End")
        oldest = ".grid-scroller a[href$='/pictures/I0'] img"
        jumps.append(await page.evaluate(_IS_COMPLETE, [".grid-scroller", oldest]) - begun_ms)
    await page.keyboard.press("Home")
    before = await _heap_bytes(page)
    scrolled = await page.evaluate(_SCROLL, SCREENS)
    return {
        "search, from the last letter to the pictures": median(searches),
        "jump to the oldest picture": median(jumps),
        "most elements at any scroll": scrolled["most"],
        "longest task while scrolling": scrolled["longest"],
        "heap growth after 50 screens": (await _heap_bytes(page) - before) / 1e6,
    }


async def _search(page: Page, word: int) -> float:
    """Return the milliseconds from the last letter to the pictures that are found."""
    await page.locator("input[type=search]").fill(f"w{word}")
    begun_ms = await page.evaluate("() => performance.now()")
    found = f".grid-scroller a[href$='q=w{word}'] img"
    complete_ms = await page.evaluate(_IS_COMPLETE, [".grid-scroller", found])
    return float(complete_ms - begun_ms)


async def _heap_bytes(page: Page) -> float:
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    usage = await session.send("Runtime.getHeapUsage")
    await session.detach()
    return float(usage["usedSize"])


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        f"| {result['pictures']:,} pictures | the library | plain page | ratio | target |",
        "|---|---|---|---|---|",
    ]
    for name, ours in result["page"].items():
        plain = result["plain"][name]["median"]
        ratio = f"{ours['median'] / plain:.2f}"
        shown = f"{ours['median']:.0f} ms"
        lines.append(f"| {name} | {shown} | {plain:.0f} ms | {ratio} | {TARGETS[name]} |")
    for name, value in result["use"].items():
        unit = {"most": "", "heap": " MB"}.get(name.split()[0], " ms")
        digits = 1 if unit == " MB" else 0
        lines.append(f"| {name} | {value:.{digits}f}{unit} | | | {TARGETS[name]} |")
    return "\n".join(lines) + (
        f"\n\nMedians of {REPEATS} loads into an empty browser of {VIEWPORT['width']} x "
        f"{VIEWPORT['height']} px, and of {REPEATS} searches and jumps. The plain page is 42 of "
        "the same thumbnails and no script. The search has the page's pause of 300 ms in it. Not "
        "measured: a network, Ray Serve's proxy, other browsers."
    )


if __name__ == "__main__":
    main()
