"""A service that goes away and comes back: nothing is lost, and nothing is made twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Route, expect

from tests.studio.conftest import OpenPage
from tests.studio.service import Service, make_at_once

CUT = "ERR_(FAILED|CONNECTION|EMPTY|SOCKET|INCOMPLETE)"


class Line:
    """Everything between the page and the service, which can be cut.

    Args:
        port: of the service.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.own_port = 0

    async def open(self) -> None:
        """Take connections, on the same port each time."""
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.own_port)
        self.own_port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections and refuse others."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
            self._writers.discard(writer)


@pytest_asyncio.fixture(loop_scope="session")
async def line(service: Service) -> AsyncIterator[Line]:
    line = Line(int(service.url.rpartition(":")[2]))
    await line.open()
    yield line
    await line.cut()


async def test_a_job_whose_answer_is_lost_is_made_once(service: Service, page_of: OpenPage) -> None:
    page = await page_of(service, allows=CUT)
    keys: list[str | None] = []

    async def lose_the_first_answer(route: Route) -> None:
        if route.request.method != "POST":
            return await route.fallback()
        keys.append(route.request.headers.get("idempotency-key"))
        await route.fetch()
        await (route.abort() if len(keys) == 1 else route.fallback())

    await page.route("**/v1/jobs", lose_the_first_answer)
    await page.get_by_role("textbox", name="Prompt").fill("asked for once")
    await page.keyboard.press("Enter")
    card = page.get_by_role("article", name="asked for once")
    await expect(card.get_by_role("link").get_by_role("img")).to_have_count(1)
    await expect(card).to_have_count(1)
    found, _ = service.services.database.jobs.page(None, None, None, 10, None, None)
    assert [job.request.prompt for job in found].count("asked for once") == 1


async def test_a_page_goes_on_where_the_service_was_away(
    service: Service, page_of: OpenPage, line: Line
) -> None:
    ids: asyncio.Queue[str] = asyncio.Queue()
    service.jobs.on_submit = ids.put
    page = await page_of(service, allows=CUT)
    await page.goto(f"http://127.0.0.1:{line.own_port}/studio")
    prompt = page.get_by_role("textbox", name="Prompt")
    await prompt.fill("made while it was away")
    await prompt.press("Enter")
    job_id = await ids.get()
    card = page.get_by_role("article", name="made while it was away")
    await expect(card.get_by_role("button", name="Cancel")).to_be_visible()

    await line.cut()
    await expect(page.get_by_text("The service does not answer.")).to_be_visible()
    await prompt.fill("asked for while it was away")
    await prompt.press("Enter")
    other = page.get_by_role("article", name="asked for while it was away")
    await expect(other.get_by_text("Waiting for the service")).to_be_visible()
    await service.jobs.run(job_id)
    make_at_once(service.jobs)

    await line.open()
    for one in (card, other):
        await expect(one.get_by_role("link").get_by_role("img")).to_have_count(1)
        await expect(one).to_have_count(1)
    await expect(page.get_by_text("The service does not answer.")).to_have_count(0)
