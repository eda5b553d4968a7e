"""Bad days of REST, and what discord.py makes of them."""

from __future__ import annotations

import asyncio

import aiohttp
import discord
import pytest

from tests.wire.conftest import StartBot
from tests.wire.fake_discord.interactions import Callback, Interaction
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rules.limits import Limit
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel
from tests.wire.raw_api import RawApi
from tests.wire.small_bot import SmallBot, picture

EDIT = "/messages/@original$"


@pytest.fixture
async def bot(start_bot: StartBot) -> SmallBot:
    return await start_bot()


@pytest.fixture
def place(bot: SmallBot, channel: Channel) -> discord.PartialMessageable:
    """The channel as the bot has it."""
    return bot.get_partial_messageable(int(channel.id), guild_id=int(channel.guild_id or 0))


async def drawn(alice: Person, channel: Channel) -> Interaction:
    return await alice.slash(channel, "draw", prompt="a cat")


async def test_a_429_with_a_time_is_waited_for_and_tried_again(
    fake: FakeDiscord, bot: SmallBot, channel: Channel, alice: Person
) -> None:
    fault = fake.faults.rate_limit("PATCH", EDIT, retry_after_s=0.2)
    call = await drawn(alice, channel)
    await call.reply(lambda m: "20 steps" in m.text)

    refused, accepted, _ = fake.traffic.requests("PATCH", EDIT)
    assert (refused.status, accepted.status, fault.used) == (429, 200, 1)
    assert accepted.at_s - refused.at_s >= 0.2


async def test_a_ban_by_the_edge_is_not_tried_again(
    fake: FakeDiscord, place: discord.PartialMessageable
) -> None:
    fake.faults.ban("POST", "/messages$")
    with pytest.raises(discord.HTTPException) as refused:
        await place.send("hello")
    assert refused.value.status == 429
    assert len(fake.traffic.requests("POST", "/messages$")) == 1


async def test_one_502_is_tried_again_and_the_picture_arrives(
    fake: FakeDiscord, bot: SmallBot, channel: Channel, alice: Person
) -> None:
    fake.faults.add("PATCH", EDIT, status=502, when=lambda e: "20 steps" in str(e.json))
    call = await drawn(alice, channel)
    message = await call.reply(lambda m: "20 steps" in m.text)
    assert [e.status for e in fake.traffic.requests("PATCH", EDIT)] == [200, 502, 200]
    assert message.files == {"picture.png": picture()}


async def test_another_status_with_a_body_and_headers_arrives_as_it_is(
    fake: FakeDiscord, place: discord.PartialMessageable
) -> None:
    body = {"message": "Message was blocked by AutoMod", "code": 200000}
    fake.faults.add("POST", "/messages$", status=400, body=body, headers={"X-Why": "test"})
    with pytest.raises(discord.HTTPException, match="blocked by AutoMod") as refused:
        await place.send("hello")
    assert refused.value.code == 200000
    assert refused.value.response.headers["X-Why"] == "test"


async def test_a_stalled_request_takes_effect_when_it_is_released(
    fake: FakeDiscord, channel: Channel, place: discord.PartialMessageable, alice: Person
) -> None:
    fault = fake.faults.stall("POST", "/messages$")
    sending = asyncio.create_task(place.send("hello"))
    await fake.wait_for(lambda: fault.used == 1)
    assert alice.messages(channel) == []
    fault.release()
    await sending
    assert [m.text for m in alice.messages(channel)] == ["hello"]
    assert [e.status for e in fake.traffic.requests("POST", "/messages$")] == [200]


async def test_an_answer_can_be_lost_after_its_effect(
    fake: FakeDiscord, channel: Channel, place: discord.PartialMessageable, alice: Person
) -> None:
    fake.faults.add("POST", "/messages$", hangs_up=True, after_effect=True)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await place.send("hello")
    assert [m.text for m in alice.messages(channel)] == ["hello"]


async def test_faults_end_after_their_times_or_when_they_are_cleared(
    fake: FakeDiscord, api: RawApi
) -> None:
    fake.faults.add("GET", "/users/@me", status=503, times=2)
    fake.faults.add("*", "/gateway", status=503, times=None)
    assert [(await api("GET", "/users/@me")).status for _ in range(3)] == [503, 503, 200]
    assert [(await api("GET", "/gateway/bot")).status for _ in range(3)] == [503] * 3
    fake.faults.clear()
    assert (await api("GET", "/gateway/bot")).status == 200


async def test_discord_py_obeys_the_headers_of_a_bucket(
    fake: FakeDiscord, bot: SmallBot, channel: Channel, alice: Person
) -> None:
    fake.limits.limits = (Limit("*", r"^/webhooks/(\d+/[^/]+)", 1, 0.3),)
    call = await drawn(alice, channel)
    await call.reply(lambda m: "20 steps" in m.text)

    first, second = fake.traffic.requests("PATCH", EDIT)
    assert second.at_s - first.at_s >= 0.3
    assert fake.traffic.requests(status=429) == []


async def test_a_full_bucket_refuses_and_others_go_on(
    fake: FakeDiscord, api: RawApi, channel: Channel, alice: Person
) -> None:
    fake.limits.limits = (Limit("PATCH", r"^/webhooks/(\d+/[^/]+)", 2, 60.0),)
    calls = [await alice.slash(channel, "draw") for _ in range(2)]
    for call in calls:
        await api.answer(call, Callback.DEFERRED_MESSAGE)

    busy = [await api.edit(calls[0], {"content": f"{n}"}) for n in range(3)]
    other = await api.edit(calls[1], {"content": "other"})
    assert [answer.status for answer in busy] == [200, 200, 429]
    assert other.status == 200
    assert 0 < busy[-1].body["retry_after"] <= 60
    headers = fake.traffic.requests("PATCH")[1].headers
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("2", "0")


async def test_a_hidden_limit_is_met_without_a_warning(
    fake: FakeDiscord, api: RawApi, channel: Channel
) -> None:
    fake.limits.limits = (Limit("POST", "^/channels/", 1, 60.0, is_hidden=True),)
    answers = [await api("POST", f"/channels/{channel.id}/typing") for _ in range(2)]
    first, second = fake.traffic.requests("POST", "typing")
    assert [answer.status for answer in answers] == [204, 429]
    assert first.headers == {}
    assert second.headers["X-RateLimit-Scope"] == "shared"


async def test_the_global_limit_counts_what_has_the_bots_token(
    fake: FakeDiscord, api: RawApi
) -> None:
    answers = await asyncio.gather(*(api("GET", "/users/@me") for _ in range(60)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert all(answer.body["global"] for answer in refused)
