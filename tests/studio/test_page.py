"""The page in a browser: that it runs, and what scripts and pages of others cannot do."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from playwright.async_api import Error, Route, expect

from serve.studio.files import studio_files
from tests.studio.browser import DESKTOP_PX, PHONE_PX
from tests.studio.conftest import Axe, OpenPage
from tests.studio.service import Service

INJECTED = {
    "a script": """() => {
        const script = document.createElement("script");
        script.append("window.ran = true");
        document.head.append(script);
    }""",
    "a handler": """() => {
        const button = document.createElement("button");
        button.setAttribute("onclick", "window.ran = true");
        document.body.append(button);
        button.click();
    }""",
    "markup": """() => { document.body.innerHTML = "<img src=x onerror='window.ran = true'>"; }""",
    "a script of another site": """() => new Promise((resolve) => {
        const script = document.createElement("script");
        script.onload = script.onerror = resolve;
        script.src = "https://evil.example/x.js";
        document.head.append(script);
    })""",
    "text that is code": """() => { setTimeout("window.ran = true", 0); }""",
}


@pytest.mark.parametrize(("theme", "width_px"), [("light", DESKTOP_PX), ("dark", PHONE_PX)])
async def test_the_page_opens_without_a_complaint_or_a_barrier(
    service: Service, page_of: OpenPage, axe: Axe, theme: str, width_px: int
) -> None:
    page = await page_of(service, theme=theme, width_px=width_px)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await axe(page)


async def test_what_is_injected_does_not_run(service: Service, page_of: OpenPage) -> None:
    page = await page_of(service, allows=".")
    for what, script in INJECTED.items():
        with suppress(Error):  # Trusted Types refuse it
            await page.evaluate(script)
        await page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 0))")
        assert await page.evaluate("() => window.ran ?? false") is False, what


async def test_another_sites_frame_of_the_page_stays_empty(
    service: Service, page_of: OpenPage
) -> None:
    page = await page_of(service, allows="frame-ancestors")
    frame = f'<iframe src="{service.url}/studio"></iframe>'

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/html", body=frame)

    await page.route("http://evil.example/", answer)
    await page.goto("http://evil.example/")
    framed = page.frames[1]
    assert framed.url.startswith("chrome-error:")
    assert await framed.locator("#app").count() == 0


async def test_a_page_that_is_open_during_an_upgrade_asks_to_be_loaded_anew(
    service: Service, page_of: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await page_of(service, allows="status of 404|stylesheet MIME type")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    monkeypatch.setattr(studio_files(), "digest", "0" * 12)
    await page.get_by_role("link", name="Queue").click()
    await expect(page.get_by_role("alert")).to_contain_text("updated")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("heading", level=1, name="Queue")).to_be_visible()


@pytest.mark.parametrize("view", ["", "library", "queue", "admin"])
async def test_a_browser_is_told_at_once_of_the_modules_that_a_view_loads(
    service: Service, page_of: OpenPage, view: str
) -> None:
    """It finds the same ones, one after the other, in a page that does not tell."""
    page = await page_of(service)

    async def tell_nothing(route: Route) -> None:
        answer = await route.fetch()
        body = re.sub('<link rel="modulepreload"[^>]+>', "", await answer.text())
        await route.fulfill(response=answer, body=body)

    async def hold(_route: Route) -> None:
        """Leave a list of jobs unanswered: what its answer shows loads modules of its own."""

    url = f"{service.url}/studio/{view}"
    await page.route(url, tell_nothing)
    await page.route("**/v1/jobs?*", hold)
    await page.goto(url)
    await expect(page.locator("main h1")).to_be_attached()
    assets = f"/studio/assets/{studio_files().digest}/"
    loaded: list[str] = await page.evaluate(
        "() => performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)"
    )
    modules = {path.removeprefix(assets) for path in loaded if path.endswith(".js")}
    name = view or "create"
    assert modules == studio_files().modules("app.js", f"{name}/{name}.js")
