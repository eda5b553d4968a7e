"""The viewer and the comparison in a browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from tests.studio.browser import PHONE_PX, make_dark_and_narrow
from tests.studio.conftest import OpenPage
from tests.studio.pictures import make
from tests.studio.service import Service

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

expect = pytest.importorskip("playwright.async_api").expect

EVIL = '<img src=x onerror="window.ran = true">'
EVIL_TAG = "<svg/onload=window.ran=true>"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def family(service: Service) -> dict[str, Any]:
    """By name: an older picture, one with an evil prompt, and another drawing of its details."""
    older = await make(service, prompt="an older ring")
    parent = await make(service, prompt=EVIL)
    latent_id = parent["images"][0]["latent_id"]
    child = await make(service, kind="vary_details", latent_id=latent_id)
    jobs = {"older": older, "parent": parent, "child": child}
    return {name: job["images"][0]["id"] for name, job in jobs.items()}


async def test_arrows_show_the_pictures_in_the_order_of_the_library(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    page = await page_of(service, f"/studio/pictures/{family['parent']}")
    await expect(page.get_by_role("button", name="Older picture")).to_be_visible()
    await page.keyboard.press("ArrowRight")
    await expect(page).to_have_url(f"{service.url}/studio/pictures/{family['older']}")
    await expect(page.locator(".prompt")).to_contain_text("an older ring")
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    await expect(page).to_have_url(f"{service.url}/studio/pictures/{family['child']}")


async def test_what_is_written_in_a_prompt_is_shown_and_does_not_run(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    page = await page_of(service, f"/studio/pictures/{family['parent']}")
    await expect(page.locator(".prompt p").first).to_have_text(EVIL)
    assert await page.evaluate("() => window.ran ?? false") is False


async def test_marks_stay_and_a_tag_does_not_run(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    address = f"/studio/pictures/{family['parent']}"
    page = await page_of(service, address)
    await page.get_by_role("textbox", name="Add a tag").fill(EVIL_TAG)
    await page.keyboard.press("Enter")
    tag = page.get_by_role("link", name=EVIL_TAG)
    await expect(tag).to_be_visible()
    async with page.expect_response(lambda one: "rating" in (one.request.post_data or "")):
        await page.get_by_role("button", name="3 of 5").click()
    await page.reload()
    await expect(page.get_by_role("button", name="3 of 5", pressed=True)).to_be_visible()
    await tag.click()
    await expect(page.locator("[role=gridcell] a")).to_have_count(1)
    assert await page.evaluate("() => window.ran ?? false") is False


async def test_a_tag_is_kept_that_is_added_before_the_last_one_is_stored(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    page = await page_of(service, f"/studio/pictures/{family['older']}")
    held: list[Route] = []

    async def hold(route: Route) -> None:
        if route.request.method != "PATCH" or held:
            return await route.continue_()
        return held.append(route)

    await page.route("**/v1/images/*", hold)
    for tag in ("ring", "gold"):
        await page.get_by_role("textbox", name="Add a tag").fill(tag)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("link", name=tag, exact=True)).to_be_visible()
    async with page.expect_response(lambda one: "gold" in (one.request.post_data or "")):
        await held[0].continue_()
    await page.reload()
    for tag in ("ring", "gold"):
        await expect(page.get_by_role("link", name=tag, exact=True)).to_be_visible()


async def test_a_mark_that_is_refused_is_taken_back_and_says_why(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    page = await page_of(service, f"/studio/pictures/{family['older']}", allows="status of 403")

    async def refuse(route: Route) -> None:
        if route.request.method != "PATCH":
            return await route.continue_()
        return await route.fulfill(status=403, json={"error": {"code": "forbidden"}})

    await page.route("**/v1/images/*", refuse)
    await page.get_by_role("button", name="4 of 5").click()
    await expect(page.get_by_text("Your key may not do this.")).to_be_visible()
    await expect(page.get_by_role("button", name="4 of 5", pressed=False)).to_be_visible()


async def test_a_link_shows_the_picture_to_people_without_a_key(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    page = await page_of(service, f"/studio/pictures/{family['older']}")
    await page.get_by_role("button", name="Share").click()
    await page.get_by_role("button", name="Make the link").click()
    link = await page.get_by_role("textbox", name="Link").input_value()
    shared = await page_of(service)
    await shared.set_viewport_size({"width": PHONE_PX, "height": PHONE_PX})
    answer = await shared.goto(link)
    assert answer is not None
    assert answer.headers["content-type"] == "image/png"
    shown = await shared.locator("img").bounding_box()
    assert shown is not None
    assert shown["y"] == (PHONE_PX - shown["height"]) / 2  # in the middle of the window
    await page.get_by_role("button", name="End all links").click()
    await expect(page.get_by_text("All links to this picture have ended.")).to_be_visible()
    async with httpx.AsyncClient() as client:
        assert (await client.get(link)).status_code == 403


async def test_two_drawings_of_one_composition_are_compared_by_keyboard(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    page = await page_of(service, f"/studio/pictures/{family['child']}")
    await expect(page.get_by_role("link", name="Compare", exact=True)).to_be_visible()
    await page.keyboard.press("v")
    await expect(page).to_have_url(
        f"{service.url}/studio/compare/{family['parent']}/{family['child']}"
    )
    slider = page.get_by_role("slider")
    await slider.focus()
    await page.keyboard.press("ArrowRight")
    await expect(slider).to_have_attribute("aria-valuenow", "52")
    await page.keyboard.press("Home")
    await expect(slider).to_have_attribute("aria-valuenow", "0")
    await page.keyboard.press("m")
    await expect(page.locator(".side-by-side img")).to_have_count(2)


async def test_new_details_join_the_family_when_they_are_made(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    page = await page_of(service, f"/studio/pictures/{family['older']}")
    await page.get_by_role("button", name="Vary details").click()
    await expect(page.locator(".tree a")).to_have_count(2)


async def test_a_deleted_picture_gives_way_to_the_next_one(
    service: Service, page_of: OpenPage, family: dict[str, Any]
) -> None:
    doomed = (await make(service, prompt="doomed"))["images"][0]["id"]
    page = await page_of(service, f"/studio/pictures/{doomed}")
    await expect(page.get_by_role("button", name="Older picture")).to_be_visible()
    await page.keyboard.press("d")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page).not_to_have_url(f"{service.url}/studio/pictures/{doomed}")
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{service.url}/v1/images/{doomed}")).status_code == 410


@pytest.mark.parametrize("view", ["pictures/{child}", "compare/{parent}/{child}"])
async def test_the_viewer_has_no_barriers(
    service: Service,
    page_of: OpenPage,
    axe: Callable[[Page], Awaitable[None]],
    family: dict[str, Any],
    view: str,
) -> None:
    page = await page_of(service, f"/studio/{view.format(**family)}")
    await page.wait_for_load_state("networkidle")
    await axe(page)
    await make_dark_and_narrow(page)
    await axe(page)
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= PHONE_PX
