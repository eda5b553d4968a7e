"""Keys, status and sessions in a browser, for an admin and for others."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.studio.browser import DESKTOP_PX, PHONE_PX
from tests.studio.conftest import Axe, OpenPage
from tests.studio.service import Service

MARKUP = "<img src=x onerror=\"document.title='stolen'\">"
SIGN_IN = """(key) => fetch("/v1/sessions", {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({key}),
})"""


@pytest.fixture(scope="module")
def admin(service: Service) -> str:
    """An admin's key; the service needs keys from now on."""
    return service.new_key("admin")


async def opened(
    page_of: OpenPage,
    service: Service,
    key: str,
    allows: str = "status of 401",
    **options: object,
) -> Page:
    """Open the status page in a browser that has signed in."""
    page = await page_of(service, "/studio/admin", allows=allows, **options)
    await page.evaluate(SIGN_IN, key)
    await page.reload()
    await expect(page.get_by_role("heading", name="Status")).to_be_visible()
    return page


async def status_with(service: Service, key: str) -> int:
    async with httpx.AsyncClient(base_url=service.url) as client:
        return (await client.get("/v1/me", headers={"authorization": f"Bearer {key}"})).status_code


async def test_the_first_key_signs_its_browser_in_and_is_shown_once(
    service: Service, page_of: OpenPage
) -> None:
    """It ends the access without keys, also that of this page; an Escape then is too early."""
    page = await page_of(service, "/studio/admin", allows="status of 40[19]")

    async def sign_in(route: Route) -> None:
        await page.keyboard.press("Escape")
        await route.continue_()

    await page.route("**/v1/sessions", sign_in, times=1)
    await page.get_by_role("button", name="New key").click()
    await page.get_by_label("Name").fill("root")
    await page.keyboard.press("Enter")
    made = await page.get_by_label("API key").input_value()
    await expect(page.get_by_text("this browser")).to_be_visible()
    assert await page.get_by_label("API key").input_value() == made
    assert await status_with(service, made) == 200
    await page.get_by_role("button", name="Done").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("heading", name="API keys")).to_be_focused()
    assert made not in await page.content()


async def test_an_admin_makes_a_key_and_revokes_it(
    service: Service, page_of: OpenPage, admin: str
) -> None:
    page = await opened(page_of, service, admin, allows="status of 40[13]")
    await page.get_by_role("button", name="New key").click()
    form = page.get_by_role("dialog")
    await form.get_by_label("Name").fill(MARKUP)
    await form.get_by_label("Your own key").fill("csk_wrong")
    await form.get_by_role("button", name="Make the key").click()
    await expect(form.get_by_text("This is not the key that you signed in with.")).to_be_visible()
    await form.get_by_label("Your own key").fill(admin)
    await form.get_by_role("button", name="Make the key").click()
    made = await page.get_by_label("API key").input_value()
    assert await status_with(service, made) == 200
    await page.get_by_role("button", name="Done").click()
    await expect(page.get_by_label("API key")).to_have_count(0)
    assert made not in await page.content()

    await page.get_by_role("button", name=f"Revoke “{MARKUP}”").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    await expect(page.get_by_text("1 revoked key")).to_be_visible()
    assert await status_with(service, made) == 401
    # Its name was shown in the list, a question and a message, each time as text.
    assert await page.title() != "stolen"
    assert await page.locator("main img").count() == 0


async def test_the_status_shows_what_is_missing(
    service: Service, page_of: OpenPage, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.gateway.readiness.KEPT_S", 0.0)
    monkeypatch.setitem(service.jobs.states, "StageC", "no machine has a GPU free")
    page = await opened(page_of, service, admin)
    await expect(page.get_by_text("no machine has a GPU free")).to_be_visible()
    await expect(page.get_by_role("heading", name="C composing")).to_be_visible()


async def test_a_key_that_is_no_admins_sees_its_own_sessions_alone(
    service: Service, page_of: OpenPage, admin: str
) -> None:
    page = await opened(page_of, service, service.new_key("read", "create"))
    await expect(page.get_by_text("This is for admins")).to_be_visible()
    await page.get_by_role("link", name="Create").first.click()
    await page.get_by_role("button", name="Account").click()
    for language, browsers in (("de", "Angemeldete Browser"), ("en", "Signed-in browsers")):
        await page.locator("dialog select").select_option(language)
        await expect(page.get_by_role("link", name=browsers)).to_be_visible()
    await page.get_by_role("link", name="Signed-in browsers").click()
    await expect(page.get_by_text("this browser")).to_have_count(1)
    await expect(page.get_by_role("button", name="New key")).to_have_count(0)
    await expect(page.get_by_role("navigation").get_by_role("link", name="Status")).to_have_count(0)


@pytest.mark.parametrize(("theme", "width_px"), [("light", DESKTOP_PX), ("dark", PHONE_PX)])
async def test_the_status_has_no_barrier(
    service: Service, page_of: OpenPage, admin: str, axe: Axe, theme: str, width_px: int
) -> None:
    page = await opened(page_of, service, admin, theme=theme, width_px=width_px)
    await expect(page.get_by_text("this browser").first).to_be_visible()
    await axe(page)
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflow) <= 0
    await page.get_by_role("button", name="New key").click()
    await expect(page.get_by_label("Your own key")).to_be_visible()
    await axe(page)
