"""The studio on real Ray with the demo model: a picture is made, varied, and never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serve.local.running import Running
from tests.limits import HANG_S
from tests.ray.client import ServiceClient, replica_process
from tests.studio.browser import Pages, launched, missing

if TYPE_CHECKING:
    from playwright.async_api import Page

_HANG_MS = HANG_S * 1000
_AWAY = r"ERR_|status of (404|5\d\d)"
"""What the console says of a service that is away, and of files that it had not stored."""


@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_pictures_are_made_and_varied_in_a_browser_also_where_the_service_is_killed(
    running: Running, service: ServiceClient
) -> None:
    from playwright.async_api import expect

    async with launched() as browser:
        pages = Pages(browser)
        page = await pages.open(f"{running.url}/", allows=_AWAY)
        await page.get_by_role("textbox", name="Prompt").fill("a blue ring")
        await page.keyboard.press("Enter")
        card = page.get_by_role("article", name="a blue ring").first
        made = card.get_by_role("link").get_by_role("img", name="a blue ring")
        await expect(made).to_be_visible(timeout=_HANG_MS)
        await card.get_by_role("button", name="Vary details").click()
        cards = page.get_by_role("article", name="a blue ring")
        await expect(cards).to_have_count(2)
        pictures = cards.get_by_role("link").get_by_role("img", name="a blue ring")
        await expect(pictures).to_have_count(2, timeout=_HANG_MS)
        await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        await check_kill(page, service)
        await pages.close()
        assert pages.complaints == []


async def check_kill(page: Page, service: ServiceClient) -> None:
    """Kill the service under the page, which neither loses a job nor sends it twice."""
    from playwright.async_api import expect

    prompts = ("made while it is killed", "asked for while it is away")
    cards = [page.get_by_role("article", name=prompt) for prompt in prompts]
    await page.get_by_role("radio", name="4 pictures").check()
    for prompt, card in zip(prompts, cards, strict=True):
        await page.get_by_role("textbox", name="Prompt").fill(prompt)
        await page.keyboard.press("Enter")
        if card is cards[0]:
            cancel = card.get_by_role("button", name="Cancel")  # the service knows the job
            await expect(cancel).to_be_visible(timeout=_HANG_MS)
            for deployment in ("Jobs", "Gateway"):
                replica_process(deployment).kill()
    for card in cards:
        made = card.get_by_role("link").get_by_role("img")
        await expect(made).to_have_count(4, timeout=_HANG_MS)
    jobs = service.http.get("/v1/jobs").json()["jobs"]
    assert [job["request"]["prompt"] for job in jobs][:2] == list(prompts[::-1])
    assert [len(job["images"]) for job in jobs].count(4) == 2
