"""The queue in a browser: what goes on is seen as it happens, and cancelled without a mouse."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.async_api import Page, expect

from cascade_core.errors import OutOfMemory
from tests.serve.recorded_jobs import start
from tests.studio.browser import DESKTOP_PX, PHONE_PX
from tests.studio.conftest import Axe, OpenPage
from tests.studio.service import Service

LONG = (
    "a very large red circle in the center of a quiet blue field at dawn, in thick oil paint, " * 3
)


@pytest.fixture(autouse=True)
def _jobs_go_on_by_hand(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.jobs, "on_submit", None)


async def submit(service: Service, prompt: str, **body: object) -> str:
    async with httpx.AsyncClient(base_url=service.url) as client:
        answer = await client.post("/v1/jobs", json={"prompt": prompt} | body)
    job_id: str = answer.raise_for_status().json()["id"]
    return job_id


def state_of(service: Service, job_id: str) -> str:
    job = service.jobs.database.jobs.get(job_id)
    assert job is not None
    return job.state


async def has_focus_in_list(page: Page) -> bool:
    focused = "() => document.activeElement.closest('.queue-row') !== null"
    return bool(await page.evaluate(focused))


async def test_a_job_is_followed_to_its_end(service: Service, page_of: OpenPage) -> None:
    page = await page_of(service, "/studio/queue")
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()
    job_id = await submit(service, "a red heart", n=2)
    row = page.locator(f'[data-job="{job_id}"]')
    await expect(row).to_contain_text("Next in line")
    start(service.jobs.database, job_id)
    await service.jobs.show_preview(job_id, "c", 6)
    await expect(row).to_contain_text("C composing, step 6 of 12")
    await expect(row.locator("img")).to_have_attribute("src", re.compile("/previews/"))
    await service.jobs.run(job_id)
    await expect(row).to_contain_text("2 pictures")
    await expect(row.get_by_role("link", name="a red heart")).to_have_attribute(
        "href", re.compile("^/studio/pictures/")
    )


async def test_jobs_are_cancelled_by_keyboard_and_the_focus_stays(
    service: Service, page_of: OpenPage
) -> None:
    ids = [await submit(service, f"number {number}") for number in range(4)]
    page = await page_of(service, "/studio/queue")
    await expect(page.locator(".queue-row")).to_have_count(4 + 1)  # and the one that ended
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Delete")
    await expect(page.get_by_text("1 job was cancelled.")).to_be_visible()
    await expect(page.locator(".queue-check")).to_have_count(3)
    assert await has_focus_in_list(page)
    assert [state_of(service, job_id) for job_id in ids].count("cancelled") == 1

    await page.keyboard.press("Control+a")
    await page.keyboard.press("Delete")
    question = page.get_by_role("dialog")
    await expect(question).to_contain_text("Cancel 3 jobs?")
    assert [state_of(service, job_id) for job_id in ids].count("cancelled") == 1
    await question.get_by_role("button", name="Cancel 3 jobs").press("Enter")
    await expect(page.get_by_text("3 jobs were cancelled.")).to_be_visible()
    await expect(page.get_by_text("Nothing runs or waits in line.")).to_be_visible()
    assert {state_of(service, job_id) for job_id in ids} == {"cancelled"}


@pytest.mark.parametrize(("theme", "width_px"), [("light", DESKTOP_PX), ("dark", PHONE_PX)])
async def test_the_queue_has_no_barrier_in_any_state_and_leads_to_a_draft_sheet(
    service: Service, page_of: OpenPage, axe: Axe, theme: str, width_px: int
) -> None:
    running, _, failed = [await submit(service, LONG, n=8) for _ in range(3)]
    draft = await submit(
        service, "a draft", n=4, stop_after="c", client_state={"inbox": "studio:local"}
    )
    await service.jobs.draft(draft)
    await service.jobs.make_image(running)
    service.jobs.finish(failed, "failed", OutOfMemory("too large"))
    page = await page_of(service, "/studio/queue", theme=theme, width_px=width_px)
    await expect(page.get_by_text("The machine has too little memory").first).to_be_visible()
    await expect(page.get_by_role("link", name="Choose").first).to_be_visible()
    await page.locator(".queue-check input").first.check()
    await axe(page)
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflow) <= 0
    await page.get_by_role("link", name="Choose").first.click()
    sheet = page.locator(f"[data-job='{draft}']")
    await expect(sheet.get_by_role("checkbox").first).to_be_focused()
