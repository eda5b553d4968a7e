"""What people can do and see, and what their client refuses before anything is sent."""

from __future__ import annotations

import contextlib
from typing import Any

import discord
import pytest

from tests.wire.conftest import StartBot
from tests.wire.fake_discord.errors import ClientRefusesError
from tests.wire.fake_discord.interactions import Callback
from tests.wire.fake_discord.messages import Upload
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel, Guild
from tests.wire.raw_api import RawApi
from tests.wire.small_bot import Interaction, SmallBot, picture


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("paint", {"prompt": "a cat"}, "never synced"),
        ("draw", {}, "prompt is required"),
        ("draw", {"prompt": "a cat", "steps": 51}, "steps is not within 1 to 50"),
        ("draw", {"prompt": "x" * 51}, "prompt is not within 1 to 50"),
        ("draw", {"prompt": "a cat", "steps": "many"}, "steps is not of its type"),
        ("draw", {"prompt": "a cat", "sytle": "photo"}, "no options"),
        ("adult", {}, "age-restricted"),
        ("limits put", {"count": 3}, "no permission"),
    ],
)
async def test_the_client_refuses_what_the_real_one_would_not_send(
    channel: Channel,
    alice: Person,
    start_bot: StartBot,
    fake: FakeDiscord,
    name: str,
    options: dict[str, Any],
    reason: str,
) -> None:
    await start_bot()
    with pytest.raises(ClientRefusesError, match=reason):
        await alice.slash(channel, name, **options)
    assert fake.interactions == {}


async def test_rights_and_places_open_what_was_refused(
    fake: FakeDiscord, guild: Guild, start_bot: StartBot
) -> None:
    await start_bot()
    boss = fake.person("boss", guild, Permission.MANAGE_GUILD)
    dark = fake.channel(guild, "dark", is_nsfw=True)

    assert (await (await boss.slash(dark, "limits put", count=3)).reply()).text == "limit 3"
    assert (await (await boss.slash(dark, "adult")).reply()).text == "for adults"
    with pytest.raises(ClientRefusesError, match="not offered"):
        await boss.slash(fake.dm(boss), "limits put", count=3)
    with pytest.raises(ClientRefusesError, match="needs one of its subcommands"):
        await boss.slash(dark, "limits")


async def test_autocomplete_offers_what_the_bot_says(
    channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    typed = await (await alice.autocomplete(channel, "draw", "style", style="p")).acked()
    assert typed.choices is not None
    assert [choice["value"] for choice in typed.choices] == ["photo", "pixel"]


async def test_an_attachment_option_carries_its_bytes_to_the_bot(
    channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    start = Upload("start.png", picture("green"))
    drawn = await alice.slash(channel, "draw", prompt="a cat", start=start)
    message = await drawn.reply(lambda m: f"from {len(start.content)} bytes" in m.text)
    assert [(a.filename, a.size_px, a.content) for a in message.shown] == [
        ("picture.png", (8, 6), picture("red"))
    ]


async def test_a_context_menu_tells_the_bot_of_the_message(
    channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    said = await alice.say(channel, "look", Upload("mine.png", picture()))
    told = await (await alice.menu(said, "Picture info")).reply()
    assert told.text == "mine.png by alice"


async def test_an_ephemeral_answer_is_seen_and_used_by_its_receiver_alone(
    fake: FakeDiscord, guild: Guild, channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    bob = fake.person("bob", guild)
    told = await (await alice.slash(channel, "whisper")).reply()

    assert alice.messages(channel) == [told]
    assert bob.messages(channel) == []
    with pytest.raises(ClientRefusesError, match="does not see"):
        await bob.menu(told, "Picture info")
    await alice.delete(told)
    assert alice.messages(channel) == []


async def test_a_button_is_found_by_label_or_custom_id_and_no_other_way(
    channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    drawn = await alice.slash(channel, "draw", prompt="a cat")
    message = await drawn.reply(lambda m: "20 steps" in m.text)
    for button in ("Vary", "v1:vary:1"):
        await (await alice.click(message, button)).acked()
    assert message.text == "varied 2 times"
    with pytest.raises(ClientRefusesError, match="no button"):
        await alice.click(message, "v1:vary:1")


async def test_a_modal_keeps_what_it_was_prefilled_with_and_refuses_too_much(
    channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    drawn = await alice.slash(channel, "draw", prompt="a cat")
    opened = await (await alice.click(await drawn.reply(), "Edit")).acked()

    assert (await (await alice.submit(opened)).reply()).text == "a cat, square"
    with pytest.raises(ClientRefusesError, match="New prompt takes 1 to 100 characters"):
        await alice.submit(opened, New_prompt="x" * 101)
    with pytest.raises(ClientRefusesError, match="no inputs"):
        await alice.submit(opened, Colour="red")


async def test_an_unknown_button_of_earlier_days_fails_for_the_person(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot()
    fake.rules.ack_deadline_s = 0.2
    button = {"type": 2, "style": 1, "label": "Vary", "custom_id": "v0:vary"}
    old = await fake.plant(channel, {"components": [{"type": 1, "components": [button]}]})
    await (await alice.click(old, "Vary")).failed()


async def test_only_moderators_delete_what_the_bot_said(
    fake: FakeDiscord, guild: Guild, channel: Channel, alice: Person
) -> None:
    moderator = fake.person("mod", guild, Permission.MANAGE_MESSAGES)
    message = await fake.plant(channel, {"content": "a picture"})
    with pytest.raises(ClientRefusesError, match="may not delete"):
        await alice.delete(message)
    await moderator.delete(message)
    assert alice.messages(channel) == []


async def test_languages_of_people_and_places_reach_the_bot(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    await start_bot()
    guild = fake.guild("labo", locale="fr")
    anna = fake.person("anna", guild, locale="de")
    told = await (await anna.slash(fake.channel(guild), "whisper")).reply()
    assert told.text == "de in fr"


async def test_people_and_channels_as_options_are_told_in_full(
    fake: FakeDiscord, api: RawApi, channel: Channel, alice: Person
) -> None:
    who = {"type": 6, "name": "who", "description": "Who"}
    where = {"type": 7, "name": "where", "description": "Where", "channel_types": [0]}
    await api.sync("choose", options=[who, where])
    data = (await alice.slash(channel, "choose", who=alice, where=channel)).json()["data"]

    assert [option["value"] for option in data["options"]] == [alice.user.id, channel.id]
    assert data["resolved"]["users"][alice.user.id]["username"] == "alice"
    assert data["resolved"]["channels"][channel.id]["name"] == "general"
    with pytest.raises(ClientRefusesError, match="no channel of its kind"):
        await alice.slash(channel, "choose", who=alice, where=fake.dm(alice))


class WhereBot(SmallBot):
    """Says through whose installation it was called, and where."""

    async def setup_hook(self) -> None:
        @self.tree.command(description="where")
        async def where(interaction: Interaction) -> None:
            kinds = []
            if interaction.is_guild_integration():
                kinds.append("guild")
            if interaction.is_user_integration():
                kinds.append("user")
            places = ("guild", "dm_channel", "private_channel")
            at = [place for place in places if getattr(interaction.context, place)]
            await interaction.response.send_message(f"{kinds} {at}")

        await super().setup_hook()


async def test_installations_decide_where_a_command_is_offered(
    fake: FakeDiscord, channel: Channel, alice: Person, start_bot: StartBot
) -> None:
    await start_bot(WhereBot())
    elsewhere = fake.guild("elsewhere", has_bot=False)
    owner = fake.person("owner", elsewhere, has_app=True)
    guest = fake.person("guest", elsewhere)
    street = fake.channel(elsewhere, "street")

    async def says(person: Person, where: Channel) -> str:
        return (await (await person.slash(where, "where")).reply()).text

    assert await says(alice, channel) == "['guild'] ['guild']"
    assert await says(owner, street) == "['user'] ['guild']"
    assert await says(owner, fake.private_channel(owner, guest)) == "['user'] ['private_channel']"
    assert await says(owner, fake.private_channel(owner, guest, alice)) == (
        "['user'] ['private_channel']"
    )
    for person, place in ((guest, street), (guest, fake.private_channel(guest, alice))):
        with pytest.raises(ClientRefusesError, match="not installed"):
            await person.slash(place, "where")


async def test_a_dm_with_the_bot_is_a_place_of_its_own(
    fake: FakeDiscord, alice: Person, start_bot: StartBot
) -> None:
    bot = await start_bot(WhereBot())
    told = await (await alice.slash(fake.dm(alice), "where")).reply()
    user = await bot.fetch_user(int(alice.user.id))
    await user.send("ready")

    assert "dm_channel" in told.text
    await alice.sees(fake.dm(alice), lambda m: m.text == "ready")
    alice.user.accepts_dms = False
    with pytest.raises(discord.Forbidden) as refused:
        await user.send("again")
    assert refused.value.code == 50007


async def test_a_user_installed_app_is_silent_elsewhere_and_short_of_breath(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    class Talker(SmallBot):
        async def setup_hook(self) -> None:
            @self.tree.command(description="talk")
            async def talk(interaction: Interaction) -> None:
                await interaction.response.send_message("0")
                with contextlib.suppress(discord.HTTPException):
                    for count in range(1, 7):
                        await interaction.followup.send(str(count))
                assert interaction.channel_id is not None
                await self.get_partial_messageable(interaction.channel_id).send("hello")

            await super().setup_hook()

    fake.limits.limits = ()
    await start_bot(Talker())
    elsewhere = fake.guild("elsewhere", has_bot=False)
    owner = fake.person("owner", elsewhere, has_app=True)
    street = fake.channel(elsewhere, "street")
    await owner.slash(street, "talk")
    await fake.wait_for(lambda: fake.traffic.requests(status=403))

    refused = [e.response["code"] for e in fake.traffic.rest if (e.status or 0) >= 400]
    assert refused == [40094, 50001]
    assert [m.text for m in owner.messages(street)] == ["0", "1", "2", "3", "4", "5"]


async def test_a_guild_can_hide_what_a_user_installed_app_says(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    await start_bot()
    strict = fake.guild("strict", has_bot=False)
    strict.everyone &= ~Permission.USE_EXTERNAL_APPS
    owner, guest = fake.person("owner", strict, has_app=True), fake.person("guest", strict)
    street = fake.channel(strict)
    drawn = await owner.slash(street, "draw", prompt="a cat")
    message = await drawn.reply(lambda m: "20 steps" in m.text)

    assert message.receiver is owner.user
    assert guest.messages(street) == []


async def test_a_strangers_click_counts_for_the_installation_that_made_the_message(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    await start_bot()
    elsewhere = fake.guild("elsewhere", has_bot=False)
    owner, guest = fake.person("owner", elsewhere, has_app=True), fake.person("guest", elsewhere)
    drawn = await owner.slash(fake.channel(elsewhere), "draw", prompt="a cat")
    message = await drawn.reply(lambda m: "20 steps" in m.text)
    clicked = await guest.click(message, "Vary")

    assert clicked.json()["authorizing_integration_owners"] == {"1": owner.user.id}
    await clicked.reply(lambda m: "varied 1 times" in m.text)


async def test_a_menu_in_a_message_takes_only_what_it_offers(
    api: RawApi, channel: Channel, alice: Person
) -> None:
    call = await alice.slash(channel, "draw")
    options = [{"label": name.title(), "value": name} for name in ("square", "wide")]
    menu = {"type": 3, "custom_id": "size", "options": options}
    layout = {"components": [{"type": 1, "components": [menu]}]}
    await api.answer(call, Callback.MESSAGE, layout)
    chosen = await alice.select(await call.reply(), "size", "wide")

    assert chosen.json()["data"]["values"] == ["wide"]
    with pytest.raises(ClientRefusesError, match="the menu has no"):
        await alice.select(await call.reply(), "size", "tall")


async def test_waiting_in_vain_tells_what_was_seen_and_said(
    fake: FakeDiscord, api: RawApi, channel: Channel, alice: Person
) -> None:
    await fake.plant(channel, {"content": "half done"})
    with pytest.raises(AssertionError, match=r"(?s)not within 0.01 s.*half done.*PUT /appl.* 200"):
        await alice.sees(channel, lambda m: "done at last" in m.text, timeout_s=0.01)


async def test_people_are_offered_what_they_may_use_in_their_language(
    fake: FakeDiscord, guild: Guild, channel: Channel, api: RawApi
) -> None:
    french = {"name_localizations": {"fr": "dessiner"}, "description_localizations": {"fr": "Oui"}}
    rights = {"default_member_permissions": int(Permission.MANAGE_GUILD)}
    await api.sync("draw", **french, **rights)
    boss = fake.person("boss", guild, Permission.MANAGE_GUILD)
    anne = fake.person("anne", locale="fr")
    fake.join(guild, anne, Permission.MANAGE_GUILD)

    assert boss.commands(channel) == {"draw": "draw"}
    assert anne.commands(channel) == {"dessiner": "Oui"}
    assert fake.person("guest", guild).commands(channel) == {}


@pytest.mark.parametrize(
    ("text", "allowed", "called"),
    [
        ("hi <@7> and @everyone", None, {"7", "everyone"}),
        ("hi <@7> and @everyone", {"parse": []}, set()),
        ("hi <@7>, <@8> and <@&9>", {"parse": ["roles"], "users": ["7"]}, {"7", "9"}),
        ("`<@7>` and ```\n@here``` and \\@everyone", None, set()),
    ],
)
async def test_a_message_calls_whom_it_mentions_and_may_call(
    api: RawApi,
    channel: Channel,
    alice: Person,
    text: str,
    allowed: dict[str, Any] | None,
    called: set[str],
) -> None:
    payload = {"content": text} | ({"allowed_mentions": allowed} if allowed else {})
    call = await alice.slash(channel, "draw")
    await api.answer(call, Callback.DEFERRED_MESSAGE)
    await api.edit(call, payload)
    await api.follow_up(call, payload)
    assert [message.calls for message in call.replies] == [called, called]
    await api.edit(call, {"content": "<@11>"})
    assert call.replies[0].calls == called
