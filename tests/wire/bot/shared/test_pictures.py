"""From a prompt to a picture and to pictures made from it, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from cascade_core.errors import Gone, Internal
from tests.wire.bot.conftest import Stage
from tests.wire.bot_process import BotProcess
from tests.wire.fake_discord.messages import Message, Upload
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rules.permissions import Permission

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]

MODERATES = Permission.MANAGE_MESSAGES | Permission.VIEW_CHANNEL


async def test_a_prompt_becomes_a_live_message_and_then_the_very_bytes_of_the_service(
    stage: Stage, bot: BotProcess
) -> None:
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a *red* fox", seed=7)
    job_id = await stage.submitted()
    message = await asked.reply(lambda m: "Cancel" in m.buttons)
    await stage.service.fake_jobs.show_preview(job_id, "c", 6)
    await stage.fake.wait_for(lambda: "Composing 6/12" in message.text)
    assert list(message.files) == ["preview-0-c-6.webp"]
    await stage.finished(job_id, message)
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]
    assert r"a \*red\* fox" in message.text
    assert "Seed `7`" in message.text
    assert list(message.files) == ["red-fox_s7.png"]
    assert bot.is_running


async def test_the_answer_is_begun_while_the_service_is_away(stage: Stage) -> None:
    await stage.service.stop()
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", private=True)
    await asked.acked()
    await stage.service.start()
    job_id = await stage.submitted()
    message = await asked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(job_id, message)


async def test_a_value_that_an_option_does_not_take_is_answered_with_those_that_it_takes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discord's client goes by the commands of an earlier version for a while."""
    options = {o["name"]: o for o in stage.fake.commands[None][1, "imagine"]["options"]}
    monkeypatch.delitem(options["steps"], "max_value")
    monkeypatch.delitem(options["negative"], "max_length")
    monkeypatch.setitem(options["seed"], "type", 3)
    monkeypatch.delitem(options["seed"], "max_value")
    german = stage.fake.person("anna", stage.channel.guild, locale="de")

    async def refused(person: Person, **given: Any) -> str:
        answer = await (
            await person.slash(stage.channel, "imagine", prompt="a fox", **given)
        ).reply()
        assert answer.receiver == person.user
        return answer.text

    told = await refused(stage.alice, aspect="hexagon")
    assert "“hexagon” is not one of the values of `aspect`: square, landscape" in told
    assert "`schritte` geht von 1 bis 100" in await refused(german, steps=100_000)
    long = await refused(stage.alice, negative="x" * 1001)
    assert "`negative` must have 1 to 1000 characters" in long
    assert "reload Discord" in await refused(stage.alice, seed="seven")
    assert stage.service.submitted.empty()


async def test_vary_starts_from_the_stored_latent(stage: Stage) -> None:
    job_id, message = await stage.picture(count=2)
    clicked = await stage.alice.click(message, "V2")
    varied_id = await stage.submitted()
    varied = stage.service.database.jobs.get(varied_id)
    assert varied is not None
    assert varied.request.kind == "vary_details"
    assert varied.request.latent_id == stage.service.fake_jobs.images(job_id)[1].latent_id
    answer = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(varied_id, answer)
    assert message is not answer
    link = f"https://discord.com/channels/{stage.channel.guild.id}/{stage.channel.id}/{message.id}"  # type: ignore[union-attr]
    line = f"by <@{stage.alice.user.id}> · new details of [this]({link})"
    assert line in answer.text
    assert line in next(filter(None, (one.text for one in answer.history)))
    assert answer.calls == set()
    edits = stage.fake.traffic.requests("PATCH", rf"/messages/{answer.id}$")
    assert all(edit.json.get("allowed_mentions") == {"parse": []} for edit in edits)


async def test_a_latent_that_is_gone_is_told_kindly_and_to_the_person_alone(stage: Stage) -> None:
    job_id, message = await stage.picture()
    stage.service.database.images.delete(stage.service.fake_jobs.images(job_id)[0].id)
    clicked = await stage.alice.click(message, "Vary details")
    answer = await clicked.reply(lambda m: "no longer available" in m.text)
    assert answer.receiver == stage.alice.user
    assert stage.service.submitted.empty()


async def test_a_file_found_lost_while_a_picture_is_made_is_told_to_the_person_alone(
    stage: Stage,
) -> None:
    _, message = await stage.picture()
    clicked = await stage.alice.click(message, "Vary details")
    live = await clicked.reply(lambda m: "Cancel" in m.buttons)
    stage.service.fake_jobs.finish(
        await stage.submitted(), "failed", Gone("the latent's file is lost")
    )
    answer = await clicked.reply(lambda m: "no longer available" in m.text)
    assert answer.receiver == stage.alice.user
    await stage.fake.wait_for(lambda: live.is_deleted)
    bob = stage.fake.person("bob", stage.channel.guild)
    assert bob.messages(stage.channel) == [message]


async def test_a_strangers_click_is_refused_and_changes_nothing(stage: Stage) -> None:
    _, message = await stage.picture()
    mallory = stage.fake.person("mallory", stage.channel.guild)
    job_id, live = await stage.imagine()
    clicks = [(message, label) for label in ("Vary details", "Vary…", "Edit", "Delete")]
    for clicked_on, label in [*clicks, (live, "Cancel")]:
        answer = await (await mallory.click(clicked_on, label)).reply()
        assert answer.receiver == mallory.user
        assert "another person" in answer.text or "moderator" in answer.text
    assert stage.service.submitted.empty()
    assert not message.is_deleted
    assert stage.service.database.jobs.open_ids() == [job_id]


@pytest.mark.parametrize("action", ["Delete", "erase"])
async def test_a_message_that_names_no_person_is_removed_by_its_owner_and_moderators_alone(
    stage: Stage, action: str
) -> None:
    job_id, message = await stage.picture()
    message.source = None
    found = message.component(message.buttons["Delete"]["custom_id"])
    assert found is not None
    if action == "erase":
        found["custom_id"] = f"v1:erase:{job_id}:all"
    mallory = stage.fake.person("mallory", stage.channel.guild)
    refused = await (await mallory.click(message, found["custom_id"])).reply(lambda m: m.receiver)
    assert "Only the owner of this picture" in refused.text
    assert not message.is_deleted
    await stage.alice.click(message, found["custom_id"])
    await stage.fake.wait_for(lambda: message.is_deleted)
    assert stage.service.fake_jobs.images(job_id)[0].deleted_at is not None


async def test_of_two_people_that_click_at_once_each_gets_their_own_outcome(stage: Stage) -> None:
    _, message = await stage.picture()
    mallory = stage.fake.person("mallory", stage.channel.guild)
    clicks = [await person.click(message, "Vary details") for person in (mallory, stage.alice)]
    assert "another person" in (await clicks[0].reply()).text
    again = await clicks[1].reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(await stage.submitted(), again)
    assert stage.service.submitted.empty()
    mod = stage.fake.person("mod", stage.channel.guild, MODERATES)
    both = [await person.click(message, "Delete") for person in (stage.alice, mod)]
    for one in both:
        await one.acked()
    await stage.fake.wait_for(lambda: message.is_deleted)
    job_id, later = await stage.imagine("a later fox")
    await stage.finished(job_id, later)
    assert [one.followups for one in both] == [[], []]  # neither reads of an error


async def test_nothing_is_ordered_by_an_interaction_that_discord_has_forgotten(
    stage: Stage,
) -> None:
    gone = {"message": "Unknown interaction", "code": 10062}
    forgotten = stage.fake.faults.add("POST", "/callback", status=404, body=gone)
    await stage.alice.slash(stage.channel, "imagine", prompt="a lost fox")
    await stage.fake.wait_for(lambda: forgotten.used == 1)
    job_id, message = await stage.imagine("a kept fox")
    assert stage.service.database.jobs.open_ids() == [job_id]
    assert stage.alice.messages(stage.channel) == [message]


async def test_a_double_click_makes_one_job(stage: Stage) -> None:
    _, message = await stage.picture()
    menu = await stage.menu(message, "Vary…")
    first = await stage.alice.click(menu, "Subtle")
    second = await stage.alice.click(menu, "Subtle")
    await first.acked()
    await second.acked()
    await stage.submitted()
    await first.reply(lambda m: "Cancel" in m.buttons)
    assert stage.service.submitted.empty()


@pytest.mark.parametrize("count", [1, 2])
async def test_a_moderator_removes_the_message_and_the_picture_stays_its_owners(
    stage: Stage, count: int
) -> None:
    job_id, message = await stage.picture(count=count)
    shown = await (await stage.alice.slash(stage.channel, "show", id=job_id)).reply()
    mod = stage.fake.person("mod", stage.channel.guild, MODERATES)
    for one in (message, shown):
        await mod.click(one, "Delete")
        await stage.fake.wait_for(lambda one=one: one.is_deleted)  # type: ignore[misc]
    assert [image.deleted_at for image in stage.service.fake_jobs.images(job_id)] == [None] * count
    again = await (await stage.alice.slash(stage.channel, "show", id=job_id)).reply()
    assert len(again.files) == count


async def test_a_moderator_chooses_none_of_the_pictures_that_an_owner_is_asked_about(
    stage: Stage,
) -> None:
    job_id, message = await stage.picture(count=2)
    await stage.alice.click(message, "Delete")
    await stage.fake.wait_for(lambda: f"v1:erase:{job_id}:0" in ids_of(message))
    mod = stage.fake.person("mod", stage.channel.guild, MODERATES)
    refused = await (await mod.click(message, f"v1:erase:{job_id}:0")).reply(lambda m: m.receiver)
    assert "Only the owner of this picture" in refused.text
    await mod.click(message, f"v1:erase:{job_id}:all")
    await stage.fake.wait_for(lambda: message.is_deleted)
    assert [image.deleted_at for image in stage.service.fake_jobs.images(job_id)] == [None] * 2


async def test_a_moderator_cancels_what_is_made_in_their_server_and_nothing_else(
    stage: Stage,
) -> None:
    _, message = await stage.imagine()
    mod = stage.fake.person("mod", stage.channel.guild, MODERATES)
    elsewhere = stage.fake.guild()
    away = Stage(
        stage.service,
        stage.fake,
        stage.fake.channel(elsewhere),
        stage.fake.person("bob", elsewhere),
    )
    other_id, _ = await away.imagine("another's fox")
    found = message.component(message.buttons["Cancel"]["custom_id"])
    assert found is not None
    own, found["custom_id"] = found["custom_id"], f"v1:cancel:{other_id}"
    refused = await (await mod.click(message, "Cancel")).reply(lambda m: m.receiver == mod.user)
    assert "Only the owner of this picture" in refused.text
    assert other_id in stage.service.database.jobs.open_ids()
    found["custom_id"] = own
    await mod.click(message, "Cancel")
    await stage.fake.wait_for(lambda: "Cancelled" in message.text)
    assert stage.service.database.jobs.open_ids() == [other_id]


def ids_of(message: Message) -> list[str]:
    return [one.get("custom_id", "") for one in message.buttons.values()]


async def test_one_of_several_pictures_can_be_deleted(stage: Stage) -> None:
    job_id, message = await stage.picture(count=2)
    await stage.alice.click(message, "Delete")
    await stage.fake.wait_for(lambda: "1" in message.buttons)
    await stage.alice.click(message, "1")
    await stage.fake.wait_for(lambda: len(message.files) == 1)
    assert list(message.files.values()) == [await stage.bytes_of(job_id, 1)]
    assert "Vary details" in message.buttons


async def test_info_tells_all_and_brings_the_original_file(stage: Stage) -> None:
    job_id, message = await stage.picture(negative="text", seed=7)
    menu = await stage.menu(message, "More…")
    answer = await (await stage.alice.click(menu, "Info")).reply(lambda m: bool(m.files))
    assert answer.receiver == stage.alice.user
    assert answer.files == {"red-fox_s7.png": await stage.bytes_of(job_id)}
    command = "/imagine prompt: a red fox aspect: square negative: text seed: 7 steps: 12"
    for fact in (command, "256×256", "12 to compose", "composing"):  # noqa: RUF001
        assert fact in answer.text
    assert f"`{job_id}`" not in answer.text
    more = await (await stage.alice.click(answer, "More")).reply(lambda m: job_id in m.text)
    assert more.receiver == stage.alice.user
    assert f"Picture `{stage.service.fake_jobs.images(job_id)[0].id}`" in more.text


async def test_others_read_how_a_picture_was_made_but_get_neither_files_nor_links(
    stage: Stage,
) -> None:
    job_id, message = await stage.picture(spoiler=True)
    bob = stage.fake.person("bob", stage.channel.guild)
    data = await stage.bytes_of(job_id)
    posted = await bob.say(stage.channel, "look", Upload("found.png", data, "image/png"))
    asked = [
        await bob.click(message, "More…"),
        await bob.menu(message, "Image info"),
        await bob.menu(posted, "Image info"),
    ]
    for one in asked:
        told = await one.reply(lambda m: "a red fox" in m.text)
        assert (told.files, "https://" in told.text) == ({}, False)
    for on in (message, posted):
        refused = await (await bob.menu(on, "Vary details")).reply()
        assert "another person" in refused.text
        assert refused.receiver == bob.user
    assert stage.service.submitted.empty()


async def test_presses_that_make_no_job_are_answered_each_time(stage: Stage) -> None:
    _, message = await stage.picture()
    for _ in range(2):
        opened = await (await stage.alice.click(message, "Edit")).acked()
        assert opened.modal is not None
        menu = await stage.menu(message, "More…")
        await (await stage.alice.click(menu, "Info")).reply(lambda m: bool(m.files))


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_a_message_without_pictures_can_be_removed_by_its_owner(
    stage: Stage, state: Any
) -> None:
    job_id, message = await stage.imagine()
    stage.service.fake_jobs.finish(job_id, state, Internal("x") if state == "failed" else None)
    await stage.fake.wait_for(lambda: "Delete" in message.buttons)
    mallory = stage.fake.person("mallory", stage.channel.guild)
    refused = await (await mallory.click(message, "Delete")).reply(lambda m: m.receiver)
    assert "Only the owner of this picture" in refused.text
    await stage.alice.click(message, "Delete")
    await stage.fake.wait_for(lambda: message.is_deleted)


async def test_cancel_ends_the_job_and_offers_another_try(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    await stage.alice.click(message, "Cancel")
    await stage.fake.wait_for(lambda: "Cancelled" in message.text)
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    assert job.state == "cancelled"
    assert list(message.buttons) == ["Try again", "Delete"]


async def test_a_button_of_another_version_is_answered(stage: Stage) -> None:
    old = {"type": 2, "style": 2, "label": "Vary", "custom_id": "v0:vary:123"}
    payload = {"flags": 1 << 15, "components": [{"type": 1, "components": [old]}]}
    message = await stage.fake.plant(stage.channel, payload, age_s=86400 * 90)
    answer = await (await stage.alice.click(message, "Vary")).reply()
    assert "older version" in answer.text
    assert answer.receiver == stage.alice.user
