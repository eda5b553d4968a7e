"""Making pictures: from the prompt to the picture, and what can be made of it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.async_api import FilePayload, Page, expect

from cascade_core.images.image_files import encode_preview
from tests.serve.waiting import until
from tests.studio.browser import DESKTOP_PX, PHONE_PX
from tests.studio.conftest import Axe, OpenPage
from tests.studio.service import Service, make_at_once

BRING = """([type, data]) => {
    const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "own.webp", { type: "image/webp" }));
    const options = { bubbles: true, cancelable: true };
    const event = type === "paste"
        ? new ClipboardEvent(type, { ...options, clipboardData: transfer })
        : new DragEvent(type, { ...options, dataTransfer: transfer });
    document.activeElement.dispatchEvent(event);
}"""
EVIL = '<img src=x onerror="window.ran = true">'


@pytest.fixture
def submitted(service: Service) -> Iterator[asyncio.Queue[str]]:
    """The ids of accepted jobs, which the test moves on by hand."""
    ids: asyncio.Queue[str] = asyncio.Queue()
    service.jobs.on_submit = ids.put
    yield ids
    make_at_once(service.jobs)


async def create(page: Page, prompt: str) -> None:
    await page.get_by_role("textbox", name="Prompt").fill(prompt)
    await page.keyboard.press("Enter")


async def test_a_key_that_is_held_down_sends_the_prompt_once(
    service: Service, page_of: OpenPage, submitted: asyncio.Queue[str]
) -> None:
    page = await page_of(service)
    prompt = page.get_by_role("textbox", name="Prompt")
    await prompt.fill("a held key")
    for _ in range(3):  # the second and third time it repeats
        await page.keyboard.down("Enter")
    await page.keyboard.up("Enter")
    await create(page, "another")
    ids = [await submitted.get() for _ in range(2)]
    jobs = [service.services.database.jobs.get(job_id) for job_id in ids]
    assert [job and job.request.prompt for job in jobs] == ["a held key", "another"]
    for job_id in ids:
        await service.jobs.run(job_id)


async def test_a_picture_is_made_and_varied_by_keyboard_alone(
    service: Service, page_of: OpenPage, submitted: asyncio.Queue[str]
) -> None:
    page = await page_of(service)
    await expect(page.get_by_role("textbox", name="Prompt")).to_be_focused()
    await page.keyboard.type("a green")
    await page.keyboard.press("Escape")
    await page.keyboard.press("/")
    await page.keyboard.type(" square")
    await page.keyboard.press("Enter")
    job_id = await submitted.get()
    card = page.get_by_role("article", name="a green square")
    await expect(card.get_by_text("in line")).to_be_visible()
    await service.jobs.show_preview(job_id, "c", 6)
    await expect(card.get_by_role("img", name="Preview: a green square")).to_be_visible()
    await expect(card.get_by_text("step 6 of 12")).to_be_visible()
    await service.jobs.run(job_id)
    await expect(card.get_by_role("link").get_by_role("img")).to_have_attribute(
        "alt", "a green square"
    )
    await card.get_by_role("link").focus()
    await page.keyboard.press("Tab")
    await expect(card.get_by_role("button", name="Vary details")).to_be_focused()
    await page.keyboard.press("Enter")
    varied = service.services.database.jobs.get(await submitted.get())
    assert varied is not None
    assert varied.request.kind == "vary_details"
    assert varied.request.latent_id == service.jobs.images(job_id)[0].latent_id


async def test_a_job_whose_preview_is_not_there_is_cancelled(
    service: Service, page_of: OpenPage, submitted: asyncio.Queue[str]
) -> None:
    page = await page_of(service, allows="ERR_FAILED")
    await page.route("**/previews/**", lambda route: route.abort())
    await create(page, "too many circles")
    job_id = await submitted.get()
    card = page.get_by_role("article", name="too many circles")
    async with page.expect_event("requestfailed"):
        await service.jobs.show_preview(job_id, "c", 6)
    await expect(card.locator("figcaption")).to_be_visible()
    await expect(card.locator("img")).to_have_count(0)
    await card.get_by_role("button", name="Cancel").click()
    await expect(card.get_by_text("Cancelled")).to_be_visible()
    await expect(card.get_by_role("button", name="Cancel")).to_have_count(0)


async def test_of_a_draft_sheet_the_chosen_ones_are_composed_anew_or_finished(
    service: Service, page_of: OpenPage
) -> None:
    page = await page_of(service)
    await page.get_by_role("radio", name="4 pictures").check()
    await page.get_by_role("button", name="Drafts first").click()
    await create(page, "a sheet of drafts")
    card = page.get_by_role("article", name="a sheet of drafts")
    first = card.get_by_role("checkbox", name="Draft 1:")
    preview = card.locator("label img").first
    before = await preview.get_attribute("src")
    await first.check()
    await card.get_by_role("button", name="Compose anew").click()
    await expect(preview).not_to_have_attribute("src", str(before))
    await expect(first).not_to_be_checked()
    for number in (2, 4):
        await card.get_by_role("checkbox", name=f"Draft {number}:").check()
    await card.get_by_role("button", name="Finish 2 drafts").click()
    await expect(card.get_by_role("link").get_by_role("img")).to_have_count(2)
    await expect(card.get_by_role("checkbox")).to_have_count(0)


async def test_a_failed_job_says_why_and_is_made_again(
    service: Service, page_of: OpenPage, submitted: asyncio.Queue[str]
) -> None:
    from cascade_core.errors import OutOfMemory

    page = await page_of(service)
    await create(page, "a picture that fails")
    service.jobs.finish(await submitted.get(), "failed", OutOfMemory("no memory"))
    card = page.get_by_role("article", name="a picture that fails")
    await expect(card.get_by_text("too little memory")).to_be_visible()
    await card.get_by_role("button", name="Try again").click()
    await service.jobs.run(await submitted.get())
    await expect(card.get_by_role("link").get_by_role("img")).to_have_count(1)


async def test_a_series_is_made_and_one_of_its_pictures_remixed(
    service: Service, page_of: OpenPage, submitted: asyncio.Queue[str]
) -> None:
    page = await page_of(service)
    await page.get_by_role("textbox", name="Prompt").fill("a red ring")
    await page.get_by_role("radio", name="Series").check()
    template = page.get_by_role("textbox", name="Template")
    await page.get_by_role("textbox", name="Variants").fill("red\ngreen")
    await page.keyboard.press("Control+Enter")
    await expect(page.get_by_role("alert")).to_contain_text("Mark in the template what changes")
    await expect(template).to_be_focused()
    await template.fill("a {color} ring")
    await page.keyboard.press("Enter")
    job_id = await submitted.get()
    await service.jobs.run(job_id)
    card = page.get_by_role("article", name="a {color} ring")
    await expect(card.get_by_role("img", name="a green ring")).to_be_visible()
    await card.get_by_role("button", name="More with this picture").nth(1).click()
    await page.get_by_role("menuitem", name="Remix with another prompt").click()
    prompt = page.get_by_role("textbox", name="Prompt")
    await expect(prompt).to_have_value("a green ring")
    await create(page, "a blue ring")
    remix = service.services.database.jobs.get(await submitted.get())
    assert remix is not None
    assert remix.request.prompt == "a blue ring"
    assert remix.request.latent_id == service.jobs.images(job_id)[1].latent_id


async def test_the_address_fills_the_box_and_a_reload_keeps_it_with_the_history(
    service: Service, page_of: OpenPage
) -> None:
    page = await page_of(service, "/studio?prompt=from+a+link&seed=7&n=2")
    prompt = page.get_by_role("textbox", name="Prompt")
    await expect(prompt).to_have_value("from a link")
    await expect(page.get_by_label("Number of the seed")).to_have_value("7")
    await prompt.press("Enter")
    card = page.get_by_role("article", name="from a link")
    await expect(card.get_by_role("link").get_by_role("img")).to_have_count(2)
    await prompt.fill("half a sent")
    await page.reload()
    await expect(card.get_by_role("link").get_by_role("img")).to_have_count(2)
    await expect(prompt).to_have_value("half a sent")
    await expect(page.get_by_label("Number of the seed")).to_have_value("7")


async def test_a_picture_that_is_chosen_pasted_or_dropped_is_where_a_job_starts(
    service: Service, page_of: OpenPage, submitted: asyncio.Queue[str]
) -> None:
    page = await page_of(service)
    await page.get_by_role("radio", name="From a picture").check()
    await page.get_by_role("textbox", name="Prompt").fill("another one like it")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Choose a picture to start from, drop one")).to_be_visible()
    data = encode_preview(np.full((256, 384, 3), 90, np.uint8))
    file: FilePayload = {"name": "own.webp", "mimeType": "image/webp", "buffer": data}
    await page.locator("input[type=file]").set_input_files(file)
    for bring in ("paste", "drop"):
        await page.get_by_role("button", name="Remove the picture").click()
        await expect(page.get_by_role("textbox", name="Prompt")).to_be_focused()
        await page.get_by_role("radio", name="New").check()
        await page.evaluate(BRING, [bring, b64encode(data).decode()])
        await expect(page.get_by_role("img", name="The picture to start from")).to_be_visible()
    await page.get_by_role("button", name="Create", exact=True).click()
    job = service.services.database.jobs.get(await submitted.get())
    assert job is not None
    assert job.request.upload_id is not None
    assert (job.request.width, job.request.height) == (384, 256)


async def test_text_that_is_dropped_is_left_to_the_prompt(
    service: Service, page_of: OpenPage
) -> None:
    page = await page_of(service)
    await expect(page.get_by_role("textbox", name="Prompt")).to_be_visible()
    is_taken = await page.evaluate("""() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.setData("text/plain", "a red circle");
        const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
        document.querySelector(".composer textarea").dispatchEvent(event);
        return event.defaultPrevented;
    }""")
    assert is_taken is False


async def test_a_prompt_is_text_wherever_it_is_shown(service: Service, page_of: OpenPage) -> None:
    page = await page_of(service, "/studio")
    await create(page, EVIL)
    card = page.get_by_role("article", name=EVIL)
    await expect(card.get_by_role("link").get_by_role("img")).to_have_attribute("alt", EVIL)
    await expect(card.get_by_text(EVIL)).to_be_visible()
    assert await page.evaluate("() => window.ran ?? false") is False


@pytest.mark.parametrize(
    ("theme", "width_px", "opened"),
    [
        ("light", DESKTOP_PX, "More with this picture"),
        ("dark", PHONE_PX, "Settings"),
    ],
)
async def test_creating_has_no_barrier_and_nothing_beyond_the_edge(
    service: Service, page_of: OpenPage, axe: Axe, theme: str, width_px: int, opened: str
) -> None:
    page = await page_of(service, theme=theme, width_px=width_px)
    await create(page, f"a {theme} picture")
    card = page.get_by_role("article", name=f"a {theme} picture")
    await expect(card.get_by_role("link").get_by_role("img")).to_be_visible()
    await page.get_by_role("button", name=opened, exact=True).first.click()
    await expect(page.locator("[role=menuitem], .settings input").first).to_be_visible()
    await axe(page)
    width = await page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= width_px


async def test_twelve_tabs_follow_a_job_by_one_stream(service: Service, page_of: OpenPage) -> None:
    """They are more than a browser has connections to one address."""
    first = await page_of(service)
    tabs = [first, *[await first.context.new_page() for _ in range(11)]]
    await asyncio.gather(*[tab.goto(f"{service.url}/studio") for tab in tabs[1:]])
    await create(first, "seen in all tabs")
    for tab in tabs:
        card = tab.get_by_role("article", name="seen in all tabs")
        await expect(card.get_by_role("link").get_by_role("img")).to_be_visible()
    await until(lambda: service.services.stream_limiter.count == 1)
