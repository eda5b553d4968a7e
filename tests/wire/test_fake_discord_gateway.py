"""The gateway: shards, sessions that are dropped, resumed or lost, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest

from tests.limits import HANG_S
from tests.wire.conftest import StartBot
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.sessions import Close, Op
from tests.wire.fake_discord.world import Channel
from tests.wire.small_bot import SmallBot


def resumes(fake: FakeDiscord) -> int:
    return len(fake.traffic.events("RESUMED"))


def starts(fake: FakeDiscord) -> int:
    return len(fake.traffic.events("READY"))


async def whispers(alice: Person, channel: Channel) -> str:
    return (await (await alice.slash(channel, "whisper")).reply()).text


@pytest.mark.parametrize("code", [None, 4000, 4001, 4008, 1000, 1011])
async def test_a_dropped_connection_is_resumed_and_nothing_is_missed(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot, code: int | None
) -> None:
    await start_bot()
    await fake.gateway.drop(code)
    missed = await alice.slash(channel, "whisper")  # no bot is connected

    assert (await missed.reply()).text == "en-US in en-US"
    await fake.wait_for(lambda: resumes(fake) == 1)
    assert (starts(fake), len(fake.traffic.ops(Op.RESUME))) == (1, 1)
    assert len(fake.traffic.events("INTERACTION_CREATE")) == 1
    assert all(s.connection and s.connection.is_resume_url for s in fake.gateway.connected())


async def test_a_bot_that_is_asked_to_reconnect_resumes(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    await fake.gateway.ask_to_reconnect()
    await fake.wait_for(lambda: resumes(fake) == 1)
    assert await whispers(alice, channel) == "en-US in en-US"
    assert starts(fake) == 1


@pytest.mark.parametrize("can_resume", [True, False])
async def test_an_invalid_session_is_resumed_or_started_anew_as_told(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot, can_resume: bool
) -> None:
    await start_bot()
    await fake.gateway.invalidate(can_resume=can_resume)
    await fake.wait_for(lambda: resumes(fake) + starts(fake) == 2)
    assert (resumes(fake), starts(fake)) == ((1, 1) if can_resume else (0, 2))
    assert await whispers(alice, channel) == "en-US in en-US"


async def test_a_session_that_was_forgotten_is_not_resumed(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    await fake.gateway.drop(forget=True)
    await fake.wait_for(lambda: starts(fake) == 2)
    assert len(fake.traffic.ops(Op.RESUME)) == 1
    assert resumes(fake) == 0
    assert await whispers(alice, channel) == "en-US in en-US"


async def test_a_connection_that_no_longer_answers_heartbeats_is_left_and_resumed(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    fake.gateway.heartbeat_s = 0.1
    await start_bot(SmallBot(heartbeat_timeout=0.3))
    fake.gateway.acknowledges = False
    await fake.wait_for(lambda: fake.traffic.ops(Op.RESUME))
    fake.gateway.acknowledges = True
    await fake.wait_for(lambda: resumes(fake))


async def test_each_of_two_shards_hears_of_its_guilds_and_resumes_alone(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    fake.gateway.shard_count = 2
    guilds = [fake.guild(f"lab {shard}", shard=shard) for shard in (0, 1)]
    channels = [fake.channel(guild) for guild in guilds]
    people = [fake.person(f"person {n}", guild) for n, guild in enumerate(guilds)]
    bot = await start_bot()
    await fake.gateway.drop(shard=1)
    for person, channel in zip(people, channels, strict=True):
        assert await whispers(person, channel) == "en-US in en-US"
    assert await whispers(people[1], fake.dm(people[1])) == "en-US in None"

    told = [frame.shard for frame in fake.traffic.events("INTERACTION_CREATE")]
    assert told == [0, 1, 0]  # what has no guild goes to the first shard
    assert bot.shard_count == 2
    assert [frame.shard for frame in fake.traffic.events("RESUMED")] == [1]


async def test_intents_decide_what_a_bot_hears(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    await alice.say(channel, "nobody listens")
    assert fake.traffic.events("MESSAGE_CREATE") == fake.traffic.events("GUILD_CREATE") == []

    listener = SmallBot(intents=discord.Intents(guilds=True, guild_messages=True))
    await start_bot(listener)
    async with asyncio.timeout(HANG_S):
        hearing = asyncio.create_task(listener.wait_for("message"))
        await fake.wait_for(lambda: fake.traffic.events("GUILD_CREATE"))
        await alice.say(channel, "somebody listens")
        heard = await hearing
    assert heard.content == ""  # what is said is privileged
    call = await alice.slash(channel, "whisper")
    await call.reply()
    assert len(fake.traffic.events("MESSAGE_CREATE")) == 1  # what only one person sees is silent
    assert heard.guild == listener.get_guild(int(channel.guild_id or 0)) is not None


async def test_a_bot_that_closes_its_connection_leaves_no_session(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    bot = await start_bot()
    await bot.close()
    await fake.wait_for(lambda: not fake.gateway.sessions)


async def test_a_wrong_token_ends_the_login(fake: FakeDiscord, start_bot: StartBot) -> None:
    bot = SmallBot()
    async with bot:
        with pytest.raises(discord.LoginFailure):
            await bot.login("wrong")


async def test_a_privileged_intent_that_was_not_granted_ends_the_bot(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    bot = SmallBot(intents=discord.Intents(message_content=True))
    async with bot:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await bot.start(fake.token)


@pytest.fixture
async def socket(fake: FakeDiscord) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A gateway connection without discord.py, after its hello."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(fake.gateway_url, autoping=True) as opened,
    ):
        hello = await opened.receive_json()
        assert hello["op"] == Op.HELLO
        yield opened


def identify(fake: FakeDiscord, **more: Any) -> dict[str, Any]:
    data = {"token": fake.token, "intents": 0, "properties": {}, **more}
    return {"op": int(Op.IDENTIFY), "d": data}


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async for _ in socket:
        pass
    return socket.close_code


async def test_a_session_that_does_not_identify_properly_is_closed(
    fake: FakeDiscord, socket: aiohttp.ClientWebSocketResponse
) -> None:
    await socket.send_json({"op": int(Op.PRESENCE), "d": {}})
    assert await close_code(socket) == Close.NOT_AUTHENTICATED


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"token": "wrong"}, Close.AUTHENTICATION_FAILED),
        ({"shard": [2, 2]}, Close.INVALID_SHARD),
        ({"intents": 1 << 15}, Close.DISALLOWED_INTENTS),
    ],
)
async def test_an_identity_that_breaks_a_rule_is_refused(
    fake: FakeDiscord,
    socket: aiohttp.ClientWebSocketResponse,
    more: dict[str, Any],
    code: Close,
) -> None:
    await socket.send_json(identify(fake, **more))
    assert await close_code(socket) == code


async def test_a_resume_from_the_future_is_refused(
    fake: FakeDiscord, start_bot: StartBot, socket: aiohttp.ClientWebSocketResponse
) -> None:
    await start_bot()
    (session,) = fake.gateway.connected()
    claim = {"token": fake.token, "session_id": session.id, "seq": len(session.log) + 1}
    await socket.send_json({"op": int(Op.RESUME), "d": claim})
    assert await close_code(socket) == Close.INVALID_SEQUENCE


async def test_a_session_that_identifies_twice_is_closed(
    fake: FakeDiscord, socket: aiohttp.ClientWebSocketResponse
) -> None:
    for _ in range(2):
        await socket.send_json(identify(fake))
    assert await close_code(socket) == Close.ALREADY_AUTHENTICATED


async def test_more_than_120_payloads_a_minute_are_too_many(
    fake: FakeDiscord, socket: aiohttp.ClientWebSocketResponse
) -> None:
    for _ in range(121):
        await socket.send_str(json.dumps({"op": int(Op.HEARTBEAT), "d": None}))
    assert await close_code(socket) == Close.RATE_LIMITED


async def test_a_session_without_heartbeats_is_closed(fake: FakeDiscord) -> None:
    fake.gateway.heartbeat_s = 0.05
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(fake.gateway_url) as silent,
    ):
        await silent.send_json(identify(fake))
        assert await close_code(silent) == Close.TIMED_OUT
