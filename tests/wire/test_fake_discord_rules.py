"""Discord's rules for interactions, messages and rights, asked without a library in between."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.wire.conftest import StartBot
from tests.wire.fake_discord.interactions import Callback, Interaction
from tests.wire.fake_discord.messages import COMPONENTS_V2, EPHEMERAL
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import MIB, Channel, Guild
from tests.wire.raw_api import Answer, RawApi
from tests.wire.small_bot import picture

TEXT = {"type": 10, "content": "a text"}
MENU = {"type": 3, "custom_id": "menu", "options": [{"label": "A", "value": "a"}]}


def button(custom_id: str, **more: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "Go", "custom_id": custom_id, **more}


def row(*children: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(children)}


def gallery(*urls: str) -> dict[str, Any]:
    return {"type": 12, "items": [{"media": {"url": url}} for url in urls]}


def described(text: str) -> dict[str, Any]:
    item = {"media": {"url": "https://example.org/a.png"}, "description": text}
    return {"type": 12, "items": [item]}


def v2(*components: dict[str, Any]) -> dict[str, Any]:
    return {"flags": COMPONENTS_V2, "components": list(components)}


@pytest.fixture
async def call(api: RawApi, channel: Channel, alice: Person) -> Interaction:
    """A slash command that is not answered yet."""
    return await alice.slash(channel, "draw")


@pytest.fixture
async def deferred(api: RawApi, call: Interaction) -> Interaction:
    """A slash command that says "thinking"."""
    assert (await api.answer(call, Callback.DEFERRED_MESSAGE)).status == 204
    return call


async def test_an_answer_after_three_seconds_comes_too_late(
    fake: FakeDiscord, api: RawApi, call: Interaction
) -> None:
    fake.let_pass(2.9)
    assert not call.is_overdue
    fake.let_pass(0.2)
    await call.failed()
    late = await api.answer(call, Callback.DEFERRED_MESSAGE)
    assert late.problem == (404, 10062)


async def test_an_interaction_is_answered_once(api: RawApi, call: Interaction) -> None:
    tries = [api.answer(call, Callback.MESSAGE, {"content": f"{n}"}) for n in range(3)]
    answers = await asyncio.gather(*tries)
    assert sorted(answer.status for answer in answers) == [204, 400, 400]
    assert {answer.body["code"] for answer in answers if answer.body} == {40060}
    assert len(call.replies) == 1


async def test_a_first_answer_that_breaks_a_rule_does_not_count(
    api: RawApi, call: Interaction
) -> None:
    assert (await api.answer(call, Callback.MESSAGE, {"content": ""})).problem == (400, 50006)
    assert (await api.answer(call, Callback.MESSAGE, {"content": "well"})).status == 204


async def test_the_webhook_opens_with_the_first_answer_and_closes_after_fifteen_minutes(
    fake: FakeDiscord, api: RawApi, call: Interaction
) -> None:
    assert (await api.follow_up(call, {"content": "early"})).problem == (404, 10015)
    await api.answer(call, Callback.DEFERRED_MESSAGE)
    fake.let_pass(899)
    assert (await api.edit(call, {"content": "in time"})).status == 200
    fake.let_pass(2)
    for answer in (await api.edit(call, TEXT), await api.follow_up(call, TEXT)):
        assert answer.problem == (401, 50027)
    assert [m.text for m in call.replies] == ["in time"]


async def test_a_token_can_be_old_from_the_start_and_its_id_says_so(
    fake: FakeDiscord, api: RawApi, channel: Channel, alice: Person
) -> None:
    fake.rules.token_age_s = 890
    call = await alice.slash(channel, "draw")
    await api.answer(call, Callback.DEFERRED_MESSAGE)
    fake.let_pass(11)

    born_ms = (int(call.id) >> 22) + 1_420_070_400_000
    assert born_ms / 1000 == pytest.approx(fake.clock.now_s() - 901, abs=5)
    assert (await api.edit(call, {"content": "late"})).problem == (401, 50027)


async def test_an_answer_fits_what_the_person_did(
    fake: FakeDiscord, api: RawApi, channel: Channel, alice: Person, call: Interaction
) -> None:
    assert (await api.answer(call, Callback.DEFERRED_UPDATE)).problem == (400, 50035)
    assert (await api.answer(call, Callback.CHOICES, {"choices": []})).problem == (400, 50035)
    v2_too_soon = await api.answer(call, Callback.DEFERRED_MESSAGE, {"flags": COMPONENTS_V2})
    assert v2_too_soon.problem == (400, 50035)
    assert call.ack is None


async def test_a_followup_fills_a_deferred_answer_first(
    api: RawApi, channel: Channel, alice: Person, deferred: Interaction
) -> None:
    first = await api.follow_up(deferred, {"content": "first"})
    second = await api.follow_up(deferred, {"content": "second"})
    assert [m.text for m in alice.messages(channel)] == ["first", "second"]
    assert deferred.original is not None
    assert first.body["id"] == deferred.original.id != second.body["id"]


async def test_files_are_limited_by_the_guild_or_the_person_whichever_allows_more(
    fake: FakeDiscord, api: RawApi, guild: Guild, deferred: Interaction, alice: Person
) -> None:
    guild.file_limit_bytes = alice.user.file_limit_bytes = 1000
    assert (await api.edit(deferred, {}, [bytes(1001)])).problem == (413, 40005)
    assert (await api.edit(deferred, {}, [bytes(1000)])).status == 200
    alice.user.file_limit_bytes = 50 * MIB
    assert (await api.edit(deferred, {}, [bytes(1001)])).status == 200
    thirteen = [bytes(13 * MIB)] * 2
    assert (await api.edit(deferred, {}, thirteen)).problem == (413, 40005)
    eight_more = await api.edit(deferred, {}, [b"x"] * 9)
    assert eight_more.problem == (400, 30015)


async def test_the_limit_is_told_with_the_interaction_and_holds_for_the_bots_own_messages(
    fake: FakeDiscord, api: RawApi, guild: Guild, channel: Channel, alice: Person
) -> None:
    guild.file_limit_bytes = alice.user.file_limit_bytes = 1000
    call = await alice.slash(channel, "draw")
    assert call.json()["attachment_size_limit"] == 1000
    path = f"/channels/{channel.id}/messages"
    assert (await api("POST", path, {}, [bytes(1001)])).problem == (413, 40005)
    assert (await api("POST", path, {}, [bytes(1000)])).status == 200


async def test_an_edit_keeps_the_attachments_that_it_lists(
    api: RawApi, deferred: Interaction
) -> None:
    await api.edit(deferred, {}, [b"a", b"b"])
    (message,) = deferred.replies
    first, second = message.attachments
    listed = [{"id": second.id}, {"id": "0", "filename": "c.png", "description": "sea"}]
    await api.edit(deferred, {"attachments": listed}, [b"c"])
    assert message.files == {"1.png": b"b", "c.png": b"c"}
    assert [a.description for a in message.attachments] == [None, "sea"]
    await api.edit(deferred, {"content": "text alone"})
    assert len(message.files) == 2
    assert first not in message.attachments


BROKEN = {
    "too much content": ({"content": "x" * 2001}, 50035),
    "nothing at all": ({"content": ""}, 50006),
    "V2 with content": (v2(TEXT) | {"content": "x"}, 50035),
    "V2 with embeds": (v2(TEXT) | {"embeds": [{"title": "x"}]}, 50035),
    "a container without V2": ({"components": [{"type": 17, "components": [TEXT]}]}, 50035),
    "41 nodes": (v2(*[TEXT] * 41), 50035),
    "6 rows": ({"components": [row(button(f"{n}")) for n in range(6)]}, 50035),
    "6 buttons": ({"components": [row(*(button(f"{n}") for n in range(6)))]}, 50035),
    "a menu beside a button": (v2(row(MENU, button("a"))), 50035),
    "an alt text of 1025": (v2(described("x" * 1025)), 50035),
    "an empty row": ({"components": [row()]}, 50035),
    "4001 characters": (v2(TEXT | {"content": "x" * 4001}), 50035),
    "an empty text": (v2(TEXT | {"content": ""}), 50035),
    "one custom id twice": (v2(row(button("a"), button("a"))), 50035),
    "a custom id of 101": (v2(row(button("x" * 101))), 50035),
    "an empty custom id": (v2(row(button(""))), 50035),
    "a label of 81": (v2(row(button("a", label="x" * 81))), 50035),
    "a link without a URL": (v2(row({"type": 2, "style": 5, "label": "x"})), 50035),
    "a gallery of 11": (v2(gallery(*["https://example.org/a.png"] * 11)), 50035),
    "a file that is not there": (v2(gallery("attachment://lost.png")), 50035),
    "a container in a container": (
        v2({"type": 17, "components": [{"type": 17, "components": [TEXT]}]}),
        50035,
    ),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_message_that_breaks_a_rule_is_refused_and_stays_what_it_was(
    api: RawApi, deferred: Interaction, what: str
) -> None:
    await api.edit(deferred, {"content": "", "components": [row(button("before"))]})
    payload, code = BROKEN[what]
    refused = await api.edit(deferred, {"components": [], **payload})
    assert refused.problem == (400, code)
    assert [list(m.buttons) for m in deferred.replies] == [["Go"]]


async def test_forty_nodes_with_four_thousand_characters_are_fine(
    api: RawApi, deferred: Interaction
) -> None:
    texts = [TEXT | {"content": "x" * 100}] * 37
    layout = v2({"type": 17, "components": [*texts, row(button("x" * 100))]})
    assert (await api.edit(deferred, layout)).status == 200


async def test_leftovers_of_an_earlier_edit_stand_against_v2_and_v2_stays(
    api: RawApi, deferred: Interaction
) -> None:
    await api.edit(deferred, {"content": "old"})
    assert (await api.edit(deferred, v2(TEXT))).problem == (400, 50035)
    assert (await api.edit(deferred, v2(TEXT) | {"content": None})).status == 200
    assert (await api.edit(deferred, {"flags": 0, "content": "x"})).problem == (400, 50035)
    assert [m.text for m in deferred.replies] == ["a text"]


async def test_a_v2_message_shows_the_files_that_its_components_name(
    api: RawApi, deferred: Interaction
) -> None:
    files = [picture("red"), picture("blue")]
    answer = await api.edit(deferred, v2(gallery("attachment://1.png")), files)
    (message,) = deferred.replies
    assert [a.filename for a in message.shown] == ["1.png"]
    media = answer.body["components"][0]["items"][0]["media"]
    assert media["url"] == answer.body["attachments"][1]["url"]
    assert (media["width"], media["height"]) == (8, 6)


async def test_an_attachments_url_gives_its_bytes_until_it_expires(
    fake: FakeDiscord, api: RawApi, deferred: Interaction
) -> None:
    answer = await api.edit(deferred, {}, [picture()])
    url = answer.body["attachments"][0]["url"]
    async with aiohttp.ClientSession() as people:
        async with people.get(url) as found:
            assert (await found.read(), found.content_type) == (picture(), "image/png")
        fake.let_pass(fake.rules.attachment_url_ttl_s + 1)
        async with people.get(url) as gone:
            assert gone.status == 404


async def test_the_bots_token_reaches_neither_ephemeral_nor_deleted_messages(
    fake: FakeDiscord, api: RawApi, channel: Channel, call: Interaction, alice: Person
) -> None:
    await api.answer(call, Callback.MESSAGE, {"content": "psst", "flags": EPHEMERAL})
    shown = await fake.plant(channel, {"content": "for all"})
    whispered = await call.reply()
    paths = [f"/channels/{channel.id}/messages/{m.id}" for m in (whispered, shown)]

    assert (await api("PATCH", paths[0], {"content": "x"})).problem == (404, 10008)
    assert (await api("PATCH", paths[1], {"content": "x"})).status == 200
    await fake.messages.delete(shown)
    for method in ("GET", "PATCH", "DELETE"):
        answer = await api(method, paths[1], {"content": "x"} if method == "PATCH" else None)
        assert answer.problem == (404, 10008)
    await alice.delete(whispered)
    assert (await api.edit(call, {"content": "x"})).problem == (404, 10008)


async def test_lost_rights_are_missing_access_or_permissions(
    fake: FakeDiscord, api: RawApi, guild: Guild, channel: Channel, alice: Person
) -> None:
    path = f"/channels/{channel.id}/messages"
    mine = await fake.plant(channel, {"content": "mine"})
    theirs = await alice.say(channel, "theirs")

    async def problems(files: list[bytes]) -> list[tuple[int, int]]:
        answers = [
            await api("POST", path, {"content": "x"}, files),
            await api("PATCH", f"{path}/{mine.id}", {"content": "x"}, files),
        ]
        return [(a.status, 0) if a.status == 200 else a.problem for a in answers]

    await fake.deny(channel, fake.bot, Permission.ATTACH_FILES)
    assert await problems([b"x"]) == [(403, 50013), (403, 50013)]
    await fake.deny(channel, fake.bot, Permission.SEND_MESSAGES)
    assert await problems([]) == [(403, 50013), (200, 0)]
    await fake.deny(channel, fake.bot, Permission.VIEW_CHANNEL)
    assert await problems([]) == [(403, 50001), (403, 50001)]
    assert (await alice.slash(channel, "draw")).json()["app_permissions"] == "0"
    channel.denied.clear()
    assert (await api("PATCH", f"{path}/{theirs.id}", {"content": "x"})).problem == (403, 50005)
    assert (await api("DELETE", f"{path}/{theirs.id}")).problem == (403, 50013)
    await fake.remove_bot(guild)
    assert await problems([]) == [(403, 50001), (403, 50001)]


async def test_messages_older_than_an_hour_take_few_edits(
    fake: FakeDiscord, api: RawApi, channel: Channel
) -> None:
    old = await fake.plant(channel, {"content": "old"}, age_s=3700)
    path = f"/channels/{channel.id}/messages/{old.id}"
    answers: list[Answer] = [await api("PATCH", path, {"content": f"{n}"}) for n in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].body["code"] == 30046
    assert 0 < answers[-1].body["retry_after"] <= fake.rules.old_edits_window_s
    fake.let_pass(fake.rules.old_edits_window_s)
    assert (await api("PATCH", path, {"content": "later"})).status == 200


async def test_an_expired_token_is_seen_by_discord_py_too(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    fake.rules.token_ttl_s = 0.0
    drawn = await alice.slash(channel, "draw", prompt="a cat")
    await fake.wait_for(lambda: fake.traffic.requests("PATCH", status=401))
    assert [m.is_loading for m in drawn.replies] == [True]


async def test_a_route_that_the_emulator_has_not_is_refused_and_recorded() -> None:
    async with FakeDiscord() as fake, aiohttp.ClientSession() as session:
        api = RawApi(fake, session)
        assert (await api("GET", "/stage-instances/1")).status == 501
        (recorded,) = fake.traffic.requests(status=501)
    assert recorded.path == "/stage-instances/1"


async def test_every_kind_of_component_is_answered_as_discord_would(
    api: RawApi, deferred: Interaction
) -> None:
    thumbnail = {"type": 11, "media": {"url": "https://example.org/a.png"}}
    section = {"type": 9, "components": [TEXT], "accessory": thumbnail}
    document = {"type": 13, "file": {"url": "attachment://0.png"}}
    link = {"type": 2, "style": 5, "label": "Original", "url": "https://example.org"}
    parts = [section, {"type": 14}, document, row(MENU), row(link, button("go", disabled=True))]
    layout = v2({"type": 17, "components": parts}, gallery("attachment://1.png"))

    assert (await api.edit(deferred, layout, [b"notes", picture()])).status == 200
    (message,) = deferred.replies
    assert list(message.buttons) == ["Original", "Go"]
    assert [a.filename for a in message.shown] == ["0.png", "1.png"]


async def test_a_message_with_the_nonce_of_a_recent_one_is_that_one(
    fake: FakeDiscord, api: RawApi, channel: Channel, alice: Person
) -> None:
    path = f"/channels/{channel.id}/messages"
    payload = {"content": "ready", "nonce": "job-1", "enforce_nonce": True}
    first, second = await api("POST", path, payload), await api("POST", path, payload)
    assert first.body["id"] == second.body["id"]
    assert second.body["nonce"] == "job-1"
    assert (await api("POST", path, payload | {"nonce": "x" * 26})).problem == (400, 50035)
    fake.let_pass(fake.rules.nonce_ttl_s + 1)
    await api("POST", path, payload)
    assert [m.text for m in alice.messages(channel)] == ["ready", "ready"]


async def test_the_latest_messages_are_listed_first_without_ephemeral_ones(
    fake: FakeDiscord, api: RawApi, channel: Channel, call: Interaction
) -> None:
    old, new = [await fake.plant(channel, {"content": text}) for text in ("old", "new")]
    await api.answer(call, Callback.MESSAGE, {"content": "psst", "flags": EPHEMERAL})
    path = f"/channels/{channel.id}/messages"
    assert [m["id"] for m in (await api("GET", path)).body] == [new.id, old.id]
    assert [m["id"] for m in (await api("GET", f"{path}?limit=1&before={new.id}")).body] == [old.id]
