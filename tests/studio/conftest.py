"""One Chromium a process, one service a module, and pages that fail their test by any complaint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.studio import browser as browsers
from tests.studio.browser import Pages, barriers, missing
from tests.studio.service import Service, running

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

HERE = Path(__file__).parent
if find_spec("playwright") is None:  # only where make has not installed what tests need
    collect_ignore_glob = ["test_*.py"]
OpenPage = Callable[..., Awaitable["Page"]]
Axe = Callable[["Page"], Awaitable[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in the event loop of the browser, or skip them."""
    reason = missing()
    for item in items:
        if HERE not in item.path.parents:
            continue
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        elif pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The process's only Chromium."""
    async with browsers.launched() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The module's service, without keys at first, with all that its tests have made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)  # new keys count at once
        async with running(tmp_path_factory.mktemp("service")) as service:
            yield service


@pytest_asyncio.fixture(loop_scope="session")
async def page_of(browser: Browser) -> AsyncIterator[OpenPage]:
    """Opens pages of a service.

    ``await page_of(service, "/studio/queue", theme="dark", width_px=320)``, with the options of
    :meth:`tests.studio.browser.Pages.open`. An error in the console, an uncaught exception or a
    violation of the page's policy fails the test at its end.
    """
    pages = Pages(browser)

    async def page_of(service: Service, path: str = "/studio", **options: Any) -> Page:
        return await pages.open(f"{service.url}{path}", **options)

    yield page_of
    await pages.close()
    assert pages.complaints == []


@pytest.fixture
def axe() -> Axe:
    """Fails on a page with barriers that axe-core finds."""

    async def axe(page: Page) -> None:
        assert await barriers(page) == ""

    return axe
