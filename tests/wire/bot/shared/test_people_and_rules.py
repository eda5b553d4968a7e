"""Commands, languages and rules, by kind of install, server, channel and person."""

from __future__ import annotations

import asyncio

import pytest
from ulid import ULID

from bot.service.client import CascadeClient
from cascade_core.errors import Internal, InvalidRequest
from tests.wire.bot.conftest import Stage
from tests.wire.fake_discord.messages import Upload, walk
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.server import FakeDiscord

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]

MODERATES = Permission.MANAGE_MESSAGES | Permission.VIEW_CHANNEL
MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL


async def test_private_answers_follow_the_person_and_public_ones_the_place(
    stage: Stage, fake: FakeDiscord
) -> None:
    assert stage.channel.guild is not None
    stage.channel.guild.locale = "fr"
    anna = stage.alice = fake.person("anna", stage.channel.guild, locale="de")
    _, public = await stage.picture()
    assert {"Varier les détails", "Varier…"} <= public.buttons.keys()
    assert "Graine" in public.text
    answer = await (await anna.slash(stage.channel, "gallery")).reply()
    assert "Deine Bilder" in answer.text


async def test_in_direct_messages_with_the_bot_everything_works(stage: Stage) -> None:
    stage.channel = stage.fake.dm(stage.alice)
    job_id, message = await stage.picture()
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]


async def test_an_app_of_ones_own_works_where_the_bot_is_no_member(stage: Stage) -> None:
    bea = stage.fake.person("bea", has_app=True)
    cem = stage.fake.person("cem")
    stage.alice, stage.channel = bea, stage.fake.private_channel(bea, cem)
    job_id, message = await stage.picture()
    clicked = await bea.click(message, "Vary details")
    varied_id = await stage.submitted()
    await stage.finished(varied_id, await clicked.reply(lambda m: "Cancel" in m.buttons))
    assert message.files
    assert job_id != varied_id


async def test_an_app_of_ones_own_brings_a_late_picture_as_a_direct_message(stage: Stage) -> None:
    bea = stage.fake.person("bea", has_app=True)
    stage.alice, stage.channel = bea, stage.fake.private_channel(bea, stage.fake.person("cem"))
    job_id, _ = await stage.imagine()
    stage.fake.let_pass(16 * 60)
    await stage.service.succeed(job_id)
    direct = await bea.sees(stage.fake.dm(bea), lambda m: "Edit" in m.buttons, 20)
    assert list(direct.files.values()) == [await stage.bytes_of(job_id)]


async def test_pictures_of_a_private_person_are_never_shown_to_others(stage: Stage) -> None:
    await (await stage.alice.slash(stage.channel, "settings", private=True)).reply()
    job_id, message = await stage.picture()
    assert message.receiver == stage.alice.user
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]
    shown = await (await stage.alice.slash(stage.channel, "show", id=job_id)).reply()
    assert shown.receiver == stage.alice.user
    asked = await stage.alice.slash(stage.channel, "show", id=job_id, private=False)
    assert (await asked.reply()).receiver is None


async def test_settings_of_a_person_apply_to_their_requests_unless_an_option_says_otherwise(
    stage: Stage,
) -> None:
    likes = {"aspect": "wide", "negative": "text", "preview": False}
    await (await stage.alice.slash(stage.channel, "settings", **likes)).reply()
    job_id, message = await stage.imagine()
    asked = stage.service.database.jobs.get(job_id).request  # type: ignore[union-attr]
    assert asked.width > asked.height
    assert asked.negative_prompt == "text"
    await stage.service.fake_jobs.show_preview(job_id, "c", 6)
    await stage.fake.wait_for(lambda: "Composing" in message.text)
    assert message.files == {}
    says = {"aspect": "tall", "negative": "blur"}
    job_id, _ = await stage.imagine("another fox", **says)
    asked = stage.service.database.jobs.get(job_id).request  # type: ignore[union-attr]
    assert asked.width < asked.height
    assert asked.negative_prompt == "blur"


async def test_what_is_hidden_stays_hidden_in_all_that_comes_of_it(stage: Stage) -> None:
    _, message = await stage.picture(spoiler=True)
    clicked = await stage.alice.click(message, "Vary details")
    varied = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(await stage.submitted(), varied)
    for one in (message, varied):
        [shown] = [item for part in walk(one.components) for item in part.get("items", ())]
        assert shown["spoiler"]
        assert shown["description"] == "a red fox"


async def test_a_request_that_cannot_be_submitted_leaves_only_a_word_to_the_person(
    stage: Stage,
) -> None:
    wrong = "seed must be a whole number between 0 and 99"
    stage.service.fake_jobs.error = InvalidRequest(wrong, "seed")
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox")
    answer = await asked.reply(lambda m: "Seed: from 0 to 99." in m.text)
    assert answer.receiver == stage.alice.user
    assert asked.original is not None
    assert [shown.text for shown in asked.original.history if shown.text] == []
    assert "report" not in answer.text
    bob = stage.fake.person("bob", stage.channel.guild)
    await stage.fake.wait_for(lambda: bob.messages(stage.channel) == [])


async def test_limits_hold_for_what_a_person_leaves_open_and_for_what_was_made_before_them(
    stage: Stage,
) -> None:
    _, message = await stage.picture(count=2)
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    await (await boss.slash(stage.channel, "admin limits", steps=5)).reply()
    job_id, _ = await stage.picture()
    assert stage.service.database.jobs.get(job_id).request.steps == 5  # type: ignore[union-attr]
    menu = await stage.menu(message, "More…")
    told = await (await stage.alice.click(menu, "Re-roll")).reply()
    assert "option `steps` of `/imagine`" in told.text
    await (await boss.slash(stage.channel, "admin limits", steps=0, images=1)).reply()
    opened = await (await stage.alice.click(message, "Edit")).acked()
    told = await (await stage.alice.submit(opened)).reply()
    assert "option `count` of `/imagine`" in told.text
    assert stage.service.submitted.empty()


async def test_a_size_that_the_model_cannot_do_is_answered_with_those_that_it_can(
    stage: Stage,
) -> None:
    _, message = await stage.picture()
    opened = await (await stage.alice.click(message, "Edit")).acked()
    told = await (await stage.alice.submit(opened, size="1024x1024")).reply(lambda m: m.receiver)
    assert "from 256 to 512 pixels here, in steps of 128" in told.text


async def test_one_person_has_a_bounded_number_of_pictures_under_way(stage: Stage) -> None:
    asked = [
        await stage.alice.slash(stage.channel, "imagine", prompt=f"fox {number}")
        for number in range(5)
    ]
    answers = [await one.reply() for one in asked]
    assert ["At most 4 of your pictures" in one.text for one in answers].count(True) == 1
    accepted = [await stage.submitted() for _ in range(4)]
    assert sorted(stage.service.database.jobs.open_ids()) == sorted(accepted)


async def test_a_parameter_in_a_prompt_or_form_is_refused_by_name(stage: Stage) -> None:
    _, message = await stage.picture()
    opened = await (await stage.alice.click(message, "Edit")).acked()
    asked = [
        await stage.alice.slash(stage.channel, "imagine", prompt="a fox --ar 16:9"),
        await stage.alice.submit(opened, prompt="a fox —ar 16:9"),
    ]
    for one in asked:
        told = await one.reply()
        assert told.receiver == stage.alice.user
        assert "would draw `--ar` into" in told.text
        assert "`aspect`" in told.text
    assert stage.service.submitted.empty()


async def test_others_see_nothing_of_an_order_that_the_rules_refuse(stage: Stage) -> None:
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    await (await boss.slash(stage.channel, "admin blocklist", add="cat")).reply()
    _, message = await stage.picture("a fox")
    await (await boss.slash(stage.channel, "admin limits", images=1)).reply()
    opened = await (await stage.alice.click(message, "Edit")).acked()
    refused = [
        await stage.alice.slash(stage.channel, "imagine", prompt="a cat"),
        await stage.alice.slash(stage.channel, "imagine", prompt="a fox", negative="a cat"),
        await stage.alice.slash(stage.channel, "imagine", prompt="a fox", count=2),
        await stage.alice.submit(opened, negative="cats"),
    ]
    for one in refused:
        answer = await one.reply(lambda m: "This server" in m.text)
        assert answer is one.original
        assert answer.receiver == stage.alice.user


async def test_an_answer_is_public_even_where_the_service_takes_long(stage: Stage) -> None:
    await stage.service.stop()
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a slow fox")
    await asked.acked()
    assert asked.original is not None
    assert asked.original.receiver == stage.alice.user
    await stage.service.start()
    message = await asked.reply(lambda m: "Cancel" in m.buttons)
    assert message.receiver is None
    await stage.finished(await stage.submitted(), message)
    assert asked.replies == [message]


async def test_a_refusal_finds_its_person_though_a_moderator_deleted_the_public_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = asyncio.Event()

    async def refuse(*_args: object, **_more: object) -> str:
        await deleted.wait()
        raise InvalidRequest("too big", "seed")

    monkeypatch.setattr(stage.service.fake_jobs, "submit", refuse)
    mod = stage.fake.person("mod", stage.channel.guild, MODERATES)
    await stage.service.stop()
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a slow fox")
    await asked.acked()
    await stage.service.start()
    await mod.delete(await asked.reply(lambda m: m.receiver is None))
    deleted.set()
    told = await asked.reply(lambda m: "does not accept this value" in m.text)
    assert told.receiver == stage.alice.user


async def test_rules_are_kept_and_only_managers_of_the_server_may_change_them(
    stage: Stage,
) -> None:
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    limits = {"images": 2, "steps": 10, "under_way": 1}
    told = await (await boss.slash(stage.channel, "admin limits", **limits)).reply()
    assert "Pictures at a time: 2. Steps: 10. In progress per person: 1." in told.text
    await (await boss.slash(stage.channel, "admin blocklist", add="Cat, two words")).reply()
    adult = {"add": "nude", "age_restricted": True}
    await (await boss.slash(stage.channel, "admin blocklist", **adult)).reply()

    async def refused(prompt: str, **options: object) -> str:
        asked = await stage.alice.slash(stage.channel, "imagine", prompt=prompt, **options)
        answer = await asked.reply(lambda m: m.receiver is not None)
        assert answer.receiver == stage.alice.user
        return answer.text

    assert "“cat”" in await refused("a CAT on a mat")
    assert "“two words”" in await refused("these two, words")
    assert "“cat”" in await refused("a fox", negative="c-a-t-s")
    assert "age-restricted" in await refused("a nude statue")
    assert "2 pictures at a time" in await refused("a fox", count=3)
    assert "10 steps" in await refused("a fox", steps=11)
    assert stage.service.submitted.empty()
    await stage.picture("concatenate")
    adults = stage.fake.channel(boss_guild(stage), "adults", is_nsfw=True)
    general, stage.channel = stage.channel, adults
    job_id, _ = await stage.picture("a nude statue")
    asked = await stage.alice.slash(general, "show", id=job_id)
    assert "age-restricted" in (await asked.reply(lambda m: m.receiver is not None)).text
    await (await stage.alice.slash(adults, "show", id=job_id)).reply(lambda m: bool(m.files))
    await stage.imagine("a fox")
    assert "At most 1 of your pictures" in await refused("another fox")


def boss_guild(stage: Stage) -> object:
    guild = stage.channel.guild
    assert guild is not None
    return guild


async def test_rules_are_safe_even_where_discord_lets_everybody_at_the_command(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = stage.fake.commands[None][1, "admin"]
    monkeypatch.setitem(admin, "default_member_permissions", None)
    asked = await stage.alice.slash(stage.channel, "admin limits", images=1)
    refused = await asked.reply()
    assert "the permission to manage this server" in refused.text
    assert refused.receiver == stage.alice.user


async def test_pictures_are_made_in_the_allowed_channels_only(stage: Stage) -> None:
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    art = stage.fake.channel(boss_guild(stage), "art")  # type: ignore[arg-type]
    told = await (await boss.slash(stage.channel, "admin channels", allow=art)).reply()
    assert f"<#{art.id}>" in told.text
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox")
    await asked.reply(lambda m: f"<#{art.id}>" in m.text)
    stage.channel = art
    await stage.picture()


async def test_a_failed_job_is_told_with_a_reference_and_another_try(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    stage.service.fake_jobs.finish(job_id, "failed", Internal("the secret cause"))
    await stage.fake.wait_for(lambda: "Try again" in message.buttons)
    assert f"If you report this: `{job_id}`" in message.text
    assert "secret" not in message.text
    await stage.alice.click(message, "Try again")
    assert await stage.submitted() != job_id


async def test_a_gallery_is_paged_through_and_brings_pictures_up(stage: Stage) -> None:
    for number in range(5):
        await stage.picture(f"fox {number}", private=True)
    asked = await stage.alice.slash(stage.channel, "gallery")
    page = await asked.reply()
    assert [f"fox {number}" in page.text for number in range(5)] == [False, True, True, True, True]
    assert len(page.files) == 4
    await stage.alice.click(page, "Older")
    await stage.fake.wait_for(lambda: "page 2" in page.text)
    assert "fox 0" in page.text
    shown = await (await stage.alice.click(page, "See 1")).reply(lambda m: bool(m.files))
    assert "fox 0" in shown.text
    assert "Vary details" in shown.buttons
    await stage.alice.click(page, "Newer")
    await stage.fake.wait_for(lambda: "page 1" in page.text)


async def test_the_queue_shows_ones_own_jobs_and_cancels_them(stage: Stage) -> None:
    job_id, message = await stage.imagine("a slow fox")
    panel = await (await stage.alice.slash(stage.channel, "queue")).reply()
    assert "a slow fox" in panel.text
    await stage.alice.click(panel, "Cancel")
    await stage.fake.wait_for(lambda: "no pictures in progress" in panel.text)
    await stage.fake.wait_for(lambda: "Cancelled" in message.text)
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    assert job.state == "cancelled"


async def test_the_queue_says_how_many_more_there_are_and_cancels_all_of_ones_own(
    stage: Stage,
) -> None:
    bob = stage.fake.person("bob", stage.channel.guild)
    asked = await bob.slash(stage.channel, "imagine", prompt="a fox of bob")
    kept_id = await stage.submitted()
    await asked.reply(lambda m: "Cancel" in m.buttons)
    # More open jobs than one bot allows a person, so another client submits them.
    another = CascadeClient(stage.service.url, stage.service.make_key())
    for _ in range(10):
        order, user = {"kind": "generate", "prompt": "a fox"}, f"discord:{stage.alice.user.id}"
        await another.create_job(order, job_id=str(ULID()), user=user, client_state={})
        await stage.submitted()
    await another.close()
    panel = await (await stage.alice.slash(stage.channel, "queue")).reply()
    assert "and 2 more" in panel.text
    await stage.alice.click(panel, "Cancel all")
    await stage.fake.wait_for(lambda: "no pictures in progress" in panel.text)
    assert stage.service.database.jobs.open_ids() == [kept_id]


async def test_show_finds_a_picture_by_job_or_picture_and_only_ones_own(stage: Stage) -> None:
    job_id, _ = await stage.picture()
    image_id = stage.service.fake_jobs.images(job_id)[0].id
    for wanted in (job_id, image_id):
        shown = await (await stage.alice.slash(stage.channel, "show", id=wanted)).reply()
        assert list(shown.files.values()) == [await stage.bytes_of(job_id)]
    mallory = stage.fake.person("mallory", stage.channel.guild)
    asked = await mallory.slash(stage.channel, "show", id=job_id)
    refused = await asked.reply(lambda m: m.receiver is not None)
    assert "You have no such picture" in refused.text
    assert refused.receiver == mallory.user


async def test_the_menus_know_messages_of_the_bot_and_files_that_it_made(stage: Stage) -> None:
    job_id, message = await stage.picture()
    told = await (await stage.alice.menu(message, "Image info")).reply()
    assert job_id in told.buttons["More"]["custom_id"]
    data = await stage.bytes_of(job_id)
    posted = await stage.alice.say(stage.channel, "look", Upload("mine.png", data, "image/png"))
    varied = await stage.alice.menu(posted, "Vary details")
    varied_id = await stage.submitted()
    await stage.finished(varied_id, await varied.reply(lambda m: "Cancel" in m.buttons))
    other = await stage.alice.say(stage.channel, "nothing here")
    refused = await (await stage.alice.menu(other, "Image info")).reply()
    assert "no picture of mine" in refused.text


async def test_prompts_are_suggested_and_mention_no_person(stage: Stage) -> None:
    await stage.picture("@everyone <@1> look", aspect="wide")  # the model is known from here on
    typed = await stage.alice.autocomplete(stage.channel, "imagine", "prompt", prompt="ring")
    await stage.fake.wait_for(lambda: typed.choices is not None)
    assert [choice["value"] for choice in typed.choices or []] == ["a blue ring"]
    anna = stage.fake.person("anna", stage.channel.guild, locale="de")
    typed = await anna.autocomplete(stage.channel, "imagine", "aspect", aspect="")
    await stage.fake.wait_for(lambda: typed.choices is not None)
    assert [(choice["name"], choice["value"]) for choice in typed.choices or []] == [
        ("quadratisch 1:1 (256×256)", "square"),  # noqa: RUF001
        ("Querformat 3:2 (384×256)", "landscape"),  # noqa: RUF001
        ("Hochformat 2:3 (256×384)", "portrait"),  # noqa: RUF001
    ]
    everywhere = stage.fake.messages.of_channel(stage.channel)
    assert all(message.calls == set() for message in everywhere)
