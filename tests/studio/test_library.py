"""The library in a browser: a grid of thousands of pictures, its search, keys and selection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner
from tests.studio.browser import PHONE_PX, make_dark_and_narrow
from tests.studio.conftest import OpenPage
from tests.studio.pictures import make, seed
from tests.studio.service import Service

if TYPE_CHECKING:
    from playwright.async_api import Page

expect = pytest.importorskip("playwright.async_api").expect

COUNT = 3000
MAX_NODES = 1500
NO_FILES = "status of 410"
"""What the console says of the thumbnails of seeded pictures, which have no files."""
EVIL = '<img src=x onerror="window.ran = true">'


@pytest.fixture(scope="module")
def library(service: Service) -> Service:
    """A service with thousands of pictures over many days."""
    prompts = [f"a ring of number {number}" for number in range(COUNT - 1)]
    seed(service.services.database, [*prompts, EVIL])
    return service


async def count_is(page: Page, count: int) -> None:
    """Wait until the library says that it has so many pictures."""
    await expect(page.locator(".library > [role=status]")).to_have_text(f"{count:,} pictures")


async def nodes(page: Page) -> int:
    """Return the number of elements of a page."""
    count: int = await page.evaluate("() => document.querySelectorAll('*').length")
    return count


async def test_the_grid_stays_small_and_reaches_the_oldest_picture(
    library: Service, page_of: OpenPage
) -> None:
    page = await page_of(library, "/studio/library", allows=NO_FILES)
    await count_is(page, COUNT)
    assert await nodes(page) <= MAX_NODES
    await page.keyboard.press("End")
    oldest = page.locator("[role=gridcell]:focus")
    await expect(oldest.locator("a")).to_have_attribute("href", "/studio/pictures/I0")
    await expect(oldest).to_be_in_viewport()
    assert await nodes(page) <= MAX_NODES
    await page.keyboard.press("Home")
    newest = page.locator(f"[role=gridcell]:focus a[href$='/I{COUNT - 1}']")
    await expect(newest).to_be_in_viewport()


async def test_a_search_is_in_the_address_and_back_returns_from_it(
    library: Service, page_of: OpenPage
) -> None:
    page = await page_of(library, "/studio/library", allows=NO_FILES)
    await count_is(page, COUNT)
    await page.keyboard.press("/")
    await page.keyboard.type("ring 1234")
    await expect(page.locator(".library > [role=status]")).to_have_text("1 picture")
    await expect(page).to_have_url(f"{library.url}/studio/library?q=ring+1234")
    await page.go_back()
    await count_is(page, COUNT)
    await expect(page.get_by_role("searchbox")).to_have_value("")


async def test_an_invalid_search_says_why(library: Service, page_of: OpenPage) -> None:
    allowed = f"status of 400|{NO_FILES}"
    page = await page_of(library, "/studio/library?q=colour:red", allows=allowed)
    await expect(page.get_by_role("alert")).to_contain_text("unknown filter 'colour'")
    await page.get_by_role("button", name="Clear the search").click()
    await count_is(page, COUNT)


async def test_what_is_written_in_prompts_and_titles_does_not_run(
    library: Service, page_of: OpenPage
) -> None:
    board_id = library.services.database.boards.create(JobOwner(None, None), EVIL).id
    page = await page_of(library, "/studio/library", allows=NO_FILES)
    await expect(page.locator("[role=gridcell] img").first).to_have_attribute("alt", EVIL)
    await page.get_by_role("button", name="Board").click()
    await page.get_by_role("menuitemradio", name=EVIL).click()
    await expect(page).to_have_url(f"{library.url}/studio/library?q=board%3A{board_id}")
    await expect(page.get_by_role("heading", name=EVIL)).to_be_visible()
    assert await page.evaluate("() => window.ran ?? false") is False


async def test_a_new_picture_appears_and_moves_nothing_in_sight(
    library: Service, page_of: OpenPage
) -> None:
    page = await page_of(library, "/studio/library", allows=NO_FILES)
    await count_is(page, COUNT)
    await page.keyboard.press("PageDown")
    await page.keyboard.press("PageDown")
    shown = page.locator("[role=gridcell]:focus")
    href = await shown.locator("a").get_attribute("href")
    before = await shown.bounding_box()
    await make(library, prompt="a new ring", n=8)
    await count_is(page, COUNT + 8)
    await expect(shown.locator("a")).to_have_attribute("href", str(href))
    assert await shown.bounding_box() == before


async def test_pictures_are_selected_and_deleted_by_keyboard(
    library: Service, page_of: OpenPage
) -> None:
    await make(library, prompt="number 7", n=4)
    page = await page_of(library, "/studio/library?q=%22number+7%22", allows=NO_FILES)
    total = 5  # with a seeded one
    await expect(page.locator("[role=gridcell] a")).to_have_count(total)
    selected = page.locator(".selection-bar [role=status]")
    for key in ("Home", "x", "Shift+ArrowRight", "Shift+ArrowRight"):
        await page.keyboard.press(key)
    await expect(selected).to_have_text("3 selected")
    await page.keyboard.press("i")
    await expect(selected).to_have_text(f"{total - 3} selected")
    for key in ("i", "d"):
        await page.keyboard.press(key)
    await expect(page.get_by_role("heading", name="Delete 3 pictures?")).to_be_visible()
    for key in ("Tab", "Tab", "Enter"):
        await page.keyboard.press(key)
    await expect(page.locator("[role=gridcell]")).to_have_count(total - 3)
    await expect(page.locator("[role=gridcell]:focus")).to_have_count(1)


async def test_selected_pictures_are_starred_rated_and_put_on_a_new_board_by_keyboard(
    library: Service, page_of: OpenPage
) -> None:
    page = await page_of(library, "/studio/library?q=%22number+21%22", allows=NO_FILES)
    await expect(page.locator("[role=gridcell] a")).to_have_count(1)
    for key in ("Control+a", "s", "4"):
        await page.keyboard.press(key)
    await expect(page.get_by_role("img", name="Rated 4 of 5")).to_be_visible()
    await page.keyboard.press("b")
    board = page.get_by_role("dialog")
    await expect(board.get_by_label("Board", exact=True)).to_be_focused()
    await board.get_by_label("Board", exact=True).select_option("New board")
    await board.get_by_label("Name of the board").fill("Rings")
    await page.keyboard.press("Enter")
    await expect(board).to_have_count(0)
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page.get_by_role("heading", name="Rings")).to_be_visible()
    rings = library.services.database.boards.all(Viewpoint(None, None))[0]
    await page.goto(f"{library.url}/studio/library?q=board:{rings.id}+star:yes+rating:4")
    await expect(page.locator("[role=gridcell] a")).to_have_count(1)


async def test_an_empty_library_leads_to_create(service: Service, page_of: OpenPage) -> None:
    page = await page_of(service, "/studio/library?q=nowhere")
    await expect(page.get_by_text("No picture matches this search.")).to_be_visible()


async def test_the_library_has_no_barriers(
    library: Service, page_of: OpenPage, axe: Callable[[Page], Awaitable[None]]
) -> None:
    page = await page_of(library, "/studio/library", allows=NO_FILES)
    await expect(page.locator("[role=gridcell] a").first).to_be_visible()
    await page.keyboard.press("x")
    await expect(page.locator(".selection-bar")).to_be_visible()
    await page.get_by_role("button", name="Date").click()
    await axe(page)
    await make_dark_and_narrow(page)
    await axe(page)
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= PHONE_PX
