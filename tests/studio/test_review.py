"""Submitting pictures, and deciding on them, in a browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import httpx
import pytest

from serve.storage.assets.asset_store import AssetView
from serve.storage.lineage import Viewpoint
from serve.storage.schema.asset_states import STATES
from tests.studio.browser import PHONE_PX, make_dark_and_narrow
from tests.studio.conftest import Axe, OpenPage
from tests.studio.pictures import make
from tests.studio.service import Service

if TYPE_CHECKING:
    from playwright.async_api import Page

expect = pytest.importorskip("playwright.async_api").expect

NO_INTERVALS = "() => { for (let id = 0; id < 10_000; id++) clearInterval(id); }"
ALL = AssetView(Viewpoint(None, None), frozenset(STATES))


async def submitted(service: Service, **changes: Any) -> str:
    """Make a picture and submit it; returns its id."""
    image_id = str((await make(service, **changes))["images"][0]["id"])
    await act(service, image_id, "submit")
    return image_id


async def act(service: Service, image_id: str, action: str, **more: Any) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        url, body = f"/v1/assets/{image_id}/transitions", {"action": action} | more
        answer = await client.post(url, json=body)
    assert answer.is_success, answer.text


def state(service: Service, image_id: str) -> str:
    return service.services.database.assets.state(image_id)


async def review(service: Service, page_of: OpenPage, **options: Any) -> Page:
    page = await page_of(service, "/studio/review", **options)
    await expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
    return page


async def shown(page: Page, prompt: str) -> None:
    await expect(page.locator(".review-prompt")).to_have_text(prompt)


async def test_pictures_are_decided_on_by_keyboard_and_the_last_decision_is_taken_back(
    service: Service, page_of: OpenPage
) -> None:
    ids = [await submitted(service, prompt=f"ring {number}") for number in range(3)]
    page = await review(service, page_of)
    await shown(page, "ring 0")
    await page.keyboard.press("ArrowRight")
    await shown(page, "ring 1")
    await page.get_by_role("checkbox", name="has no visible faults").check()
    await page.keyboard.press("a")
    await shown(page, "ring 2")
    assert state(service, ids[1]) == "approved"
    await page.keyboard.press("u")
    await shown(page, "ring 1")
    assert state(service, ids[1]) == "submitted"
    await page.keyboard.press("ArrowLeft")
    await shown(page, "ring 2")  # what was submitted again comes last
    await page.keyboard.press("r")
    await page.get_by_role("textbox", name="What should be changed?").fill("too dark")
    await page.keyboard.press("Control+Enter")
    await expect(page.get_by_text("Rejected.")).to_be_visible()
    asset = service.services.database.assets.get(ids[2])
    assert asset is not None
    assert (asset.state, asset.note) == ("rejected", "too dark")
    for prompt in ("ring 1", "ring 0"):
        await shown(page, prompt)
        await page.keyboard.press("a")
    await expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    notes = [event.note for event in service.services.database.audit.of_asset(ids[1])]
    assert "has no visible faults" in notes


async def test_a_comment_points_at_a_place_in_the_picture(
    service: Service, page_of: OpenPage
) -> None:
    image_id = await submitted(service, prompt="a ring with a dent")
    page = await review(service, page_of)
    picture = page.locator(".review-picture")
    box = await picture.bounding_box()
    assert box is not None
    await picture.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    await page.keyboard.press("c")
    await page.keyboard.type("a dent")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".review-point:not(.is-new)")).to_have_text("1")
    (comment,) = service.services.database.asset_comments.of_asset(image_id)
    assert comment.text == "a dent"
    assert comment.x == pytest.approx(0.25, abs=0.02)
    assert comment.y == pytest.approx(0.5, abs=0.02)
    await page.get_by_text("Model: demo").click()
    await expect(page.get_by_text("Apache-2.0")).to_be_visible()
    await act(service, image_id, "withdraw")


async def test_what_was_decided_meanwhile_is_told_and_leaves_the_line(
    service: Service, page_of: OpenPage
) -> None:
    image_id = await submitted(service, prompt="a late ring")
    page = await review(service, page_of, allows="status of 409")
    await page.evaluate(NO_INTERVALS)  # the line is not read again before the key is pressed
    await act(service, image_id, "reject", note="no")
    await page.keyboard.press("a")
    await expect(page.get_by_text("Another person changed it meanwhile.")).to_be_visible()
    await expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    assert state(service, image_id) == "rejected"


async def test_the_viewer_submits_a_picture_and_the_library_shows_its_state(
    service: Service, page_of: OpenPage
) -> None:
    image_id = (await make(service, prompt="a ring of my own"))["images"][0]["id"]
    page = await page_of(service, f"/studio/pictures/{image_id}")
    await page.get_by_role("button", name="Submit for approval").click()
    await expect(page.locator(".state-badge")).to_have_text("Submitted")
    await expect(page.locator(".rail-count")).to_have_text("1")
    await page.get_by_text("History").click()
    await expect(page.locator(".asset-history li")).to_have_count(1)
    await page.goto(f"{service.url}/studio/library?q=state:submitted")
    await expect(page.locator(".cell-state")).to_have_text("Submitted")
    await act(service, image_id, "withdraw")


async def test_selected_pictures_are_submitted_at_once(service: Service, page_of: OpenPage) -> None:
    for _ in range(2):
        await make(service, prompt="bulk ring")
    page = await page_of(service, "/studio/library?q=bulk")
    await expect(page.locator("[role=gridcell] a")).to_have_count(2)
    await page.keyboard.press("Control+a")
    await page.get_by_role("button", name="Submit for approval").click()
    await expect(page.get_by_text("2 pictures were submitted.")).to_be_visible()
    await expect(page.locator(".cell-state")).to_have_count(2)


async def test_pictures_are_exported_in_the_forms_of_channels(
    service: Service, page_of: OpenPage, axe: Axe
) -> None:
    image_id = (await make(service, prompt="a ring for channels"))["images"][0]["id"]
    page = await page_of(service, f"/studio/pictures/{image_id}")
    await page.get_by_role("button", name="Download").click()
    await page.get_by_role("menuitem", name="Export…").click()
    await page.get_by_role("checkbox", name="link-card").check()
    await axe(page)
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Export", exact=True).click()
    download = await waiting.value
    with ZipFile(await download.path()) as archive:
        told = json.loads(archive.read("manifest.json"))["files"]
    assert [(one["preset"], one["image_id"]) for one in told] == [
        ("original", image_id),
        ("link-card", image_id),
    ]


async def test_a_file_is_verified(service: Service, page_of: OpenPage, axe: Axe) -> None:
    image_id = (await make(service, prompt="a ring to verify"))["images"][0]["id"]
    data = await service.services.blobs.get(f"images/{image_id}.png")
    page = await page_of(service)
    await page.get_by_role("button", name="Account").click()
    await page.get_by_role("link", name="Verify a file").click()
    file = {"name": "ring.png", "mimeType": "image/png", "buffer": data}
    await page.locator("input[type=file]").set_input_files(files=[file])
    await expect(page.get_by_role("heading", name="Not signed")).to_be_visible()
    await expect(page.get_by_text("Made by a model: demo")).to_be_visible()
    await expect(page.locator(f".verify-pictures a[href$='{image_id}']").first).to_be_visible()
    await axe(page)
    await make_dark_and_narrow(page)
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= PHONE_PX


async def test_review_has_no_barriers_in_both_themes_and_on_a_phone(
    service: Service, page_of: OpenPage, axe: Axe
) -> None:
    await submitted(service, prompt="a ring for all")
    page = await review(service, page_of)
    await axe(page)
    page = await review(service, page_of, theme="dark", width_px=PHONE_PX)
    await axe(page)
    wide = await page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= await page.evaluate("() => innerWidth")


async def test_one_person_submits_and_another_one_decides(
    service: Service, page_of: OpenPage
) -> None:
    """Last in this module: from here on the service has keys."""
    database = service.services.database
    for asset_id in [one.id for one in database.assets.page(ALL, "submitted", None, 100)]:
        await act(service, asset_id, "withdraw")
    ann, bea = service.new_key("read", "create"), service.new_key("read", "review", "create")
    image_ids = {}
    for name, key in (("ann", ann), ("bea", bea)):
        job = await make(service, api_key=key, prompt=f"a ring of {name}")
        image_ids[name] = job["images"][0]["id"]
    pages = {}
    for name, key in (("ann", ann), ("bea", bea)):
        page = pages[name] = await page_of(service, allows="status of 40[13]")
        await page.get_by_label("API key").fill(key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("link", name="Library")).to_be_visible()
        await page.goto(f"{service.url}/studio/pictures/{image_ids[name]}")
        await page.get_by_role("button", name="Submit for approval").click()
        await expect(page.locator(".state-badge")).to_have_text("Submitted")
    await expect(pages["ann"].get_by_role("link", name="Review")).to_have_count(0)
    page = pages["bea"]
    await page.get_by_role("link", name="Review").click()
    await shown(page, "a ring of ann")
    await page.keyboard.press("a")
    await shown(page, "a ring of bea")
    await expect(page.get_by_text("Another person has to approve")).to_be_visible()
    await expect(page.get_by_role("button", name="Approve", exact=True)).to_be_disabled()
    assert state(service, image_ids["ann"]) == "approved"
    await pages["ann"].reload()
    await expect(pages["ann"].locator(".state-badge")).to_have_text("Approved")
