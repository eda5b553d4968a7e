"""The studio on real Ray with the demo model: a person makes a picture, and varies it."""

from __future__ import annotations

import pytest

from serve.local.running import Running
from tests.limits import HANG_S
from tests.studio.browser import Pages, launched, missing

_HANG_MS = HANG_S * 1000


@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_a_picture_is_made_in_a_browser_and_its_details_are_varied(running: Running) -> None:
    from playwright.async_api import expect

    async with launched() as browser:
        pages = Pages(browser)
        page = await pages.open(f"{running.url}/")
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
        await pages.close()
        assert pages.complaints == []
