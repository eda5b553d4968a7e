"""An emulated Discord whose traffic is judged when a test ends, and a small bot in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from discord.asset import Asset
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.wire.fake_discord.oracle import Oracle
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel, Guild
from tests.wire.judged import judged_discord
from tests.wire.raw_api import RawApi
from tests.wire.run_bot import point_at
from tests.wire.small_bot import SmallBot

StartBot = Callable[..., Awaitable[SmallBot]]


@pytest.fixture
async def fake(oracle: Oracle | None) -> AsyncIterator[FakeDiscord]:
    async with judged_discord(oracle) as running:
        yield running


@pytest.fixture
def guild(fake: FakeDiscord) -> Guild:
    return fake.guild()


@pytest.fixture
def channel(fake: FakeDiscord, guild: Guild) -> Channel:
    return fake.channel(guild)


@pytest.fixture
def alice(fake: FakeDiscord, guild: Guild) -> Person:
    """A member of the guild without any rights beyond everybody's."""
    return fake.person("alice", guild)


@pytest.fixture
async def start_bot(fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartBot]:
    """Starts a small bot in this process, over real sockets; it is online when it is returned."""
    for owner, name in ((Route, "BASE"), (DiscordWebSocket, "DEFAULT_GATEWAY"), (Asset, "BASE")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back at the end
    point_at(fake.api_url, fake.gateway_url, fake.cdn_url)
    async with AsyncExitStack() as stack:

        async def start(bot: SmallBot | None = None) -> SmallBot:
            bot = bot or SmallBot()
            await stack.enter_async_context(_running(bot, fake))
            return bot

        yield start


@asynccontextmanager
async def _running(bot: commands.AutoShardedBot, fake: FakeDiscord) -> AsyncIterator[None]:
    before = len(fake.traffic.events("READY"))
    task = asyncio.create_task(bot.start(fake.token))
    try:
        await fake.wait_for(lambda: len(fake.traffic.events("READY")) > before)
        await fake.online()
        yield
    finally:
        await bot.close()
        await asyncio.wait([task])


@pytest.fixture
async def api(fake: FakeDiscord) -> AsyncIterator[RawApi]:
    """The application's REST calls without discord.py; ``/draw`` and ``/vary`` are synced."""
    async with aiohttp.ClientSession() as session:
        raw = RawApi(fake, session)
        await raw.sync("draw", "vary")
        yield raw
