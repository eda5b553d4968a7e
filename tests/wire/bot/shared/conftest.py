"""One bot, one service and one emulated Discord for all tests of a module.

Each test has its own server, channel and person, and leaves no job under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.bot.gateway import Service, running_service
from tests.wire.bot.conftest import Stage, delivered
from tests.wire.bot_process import BotProcess, starting_bots
from tests.wire.fake_discord.oracle import Oracle
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel
from tests.wire.judged import judged_discord

PUBLIC_URL = "https://pictures.example"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fake(oracle: Oracle | None) -> AsyncIterator[FakeDiscord]:
    async with judged_discord(oracle) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    async with running_service(folder, public_url=PUBLIC_URL) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(fake: FakeDiscord, service: Service) -> AsyncIterator[BotProcess]:
    async with starting_bots(fake, service.url, service.make_key()) as start:
        yield await start()


@pytest_asyncio.fixture(loop_scope="module")
async def stage(
    service: Service, fake: FakeDiscord, channel: Channel, alice: Person
) -> AsyncIterator[Stage]:
    stage = Stage(service, fake, channel, alice)
    yield stage
    fake.faults.clear()
    service.fake_jobs.error = None
    for job_id in service.database.jobs.open_ids():
        service.fake_jobs.finish(job_id, "cancelled")
    await delivered(stage)
    while not service.submitted.empty():
        service.submitted.get_nowait()
