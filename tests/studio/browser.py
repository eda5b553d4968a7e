"""Pages of the studio in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from serve.studio.files import studio_files
from tests.wire.screens import chromium

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

Theme = Literal["light", "dark"]
PHONE_PX, DESKTOP_PX = 320, 1280
_HEIGHT_PX = 900
_PATIENCE_MS = 30_000
"""Machines are busy; what is awaited comes sooner on most."""
_FLAGS = (
    "--no-sandbox",  # it shows our own pages only, and refuses to run as root with one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_REPORT_VIOLATIONS = (
    "addEventListener('securitypolicyviolation', (event) => "
    "console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI}`))"
)


def missing() -> str:
    """Return one sentence about what is needed and not here; empty: nothing is."""
    if chromium.find() is None:
        return chromium.NOTICE
    if find_spec("playwright") is None:
        return "playwright is not installed: make test installs it"
    return studio_files().problem


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Start Chromium without a window."""
    from playwright.async_api import async_playwright, expect

    expect.set_options(timeout=_PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium.find(), args=list(_FLAGS)
        )
        yield browser
        await browser.close()


class Pages:
    """Opens pages and collects what they complain of.

    Args:
        browser: a running Chromium.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._allowed: list[re.Pattern[str]] = []
        self.complaints: list[str] = []

    async def open(
        self, url: str, *, theme: Theme = "light", width_px: int = DESKTOP_PX, allows: str = ""
    ) -> Page:
        """Open an address in a browser of its own: no cookies, no storage.

        Args:
            url: the address.
            theme: what the system prefers.
            width_px: of the window, in CSS pixels.
            allows: pattern of errors in the console that this test provokes, such as
                ``status of 401``; any other fails it.
        """
        context = await self._browser.new_context(
            color_scheme=theme,
            viewport={"width": width_px, "height": _HEIGHT_PX},
            locale="en-US",
        )
        self._contexts.append(context)
        context.set_default_timeout(_PATIENCE_MS)
        await context.add_init_script(_REPORT_VIOLATIONS)
        if allows:
            self._allowed.append(re.compile(allows))
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self._add(str(error.error)))
        page = await context.new_page()
        await page.goto(url)
        return page

    async def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            await context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._add(f"{message.text} {message.location.get('url', '')}")

    def _add(self, text: str) -> None:
        if not any(pattern.search(text) for pattern in self._allowed):
            self.complaints.append(text)


async def barriers(page: Page) -> str:
    """Return what axe finds on a page that bars people; empty if it finds nothing."""
    from axe_playwright_python.async_playwright import Axe

    found = await Axe().run(page)
    return found.generate_report() if found.violations_count else ""


async def make_dark_and_narrow(page: Page) -> None:
    """Show an open page in the other theme, on a phone."""
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": PHONE_PX, "height": _HEIGHT_PX})
