"""Pictures made from a stored composition, by the menus under a picture and the Edit form."""

from __future__ import annotations

import pytest

from cascade_core.request import GenerationRequest
from tests.wire.bot.conftest import Stage
from tests.wire.fake_discord.messages import Message, walk
from tests.wire.fake_discord.rules.permissions import Permission

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]

MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL


async def made(stage: Stage, menu: Message, button: str) -> tuple[GenerationRequest, Message]:
    """Press a button in a menu and let its job succeed; returns its request and message."""
    clicked = await stage.alice.click(menu, button)
    job_id = await stage.submitted()
    message = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(job_id, message)
    return request_of(stage, job_id), message


def request_of(stage: Stage, job_id: str) -> GenerationRequest:
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    return job.request


def link_to(message: Message) -> str:
    guild, channel = message.channel.guild, message.channel
    assert guild is not None
    return f"https://discord.com/channels/{guild.id}/{channel.id}/{message.id}"


@pytest.mark.parametrize(
    ("button", "strength", "said"),
    [("Subtle", 0.7, "varied subtly from"), ("Strong", 0.9, "varied strongly from")],
)
async def test_a_variation_starts_from_the_latent_and_says_how_far_it_departs(
    stage: Stage, button: str, strength: float, said: str
) -> None:
    job_id, message = await stage.picture(seed=7)
    menu = await stage.menu(message, "Vary…")
    asked, varied = await made(stage, menu, button)
    assert (asked.kind, asked.strength) == ("vary", strength)
    assert asked.latent_id == stage.service.fake_jobs.images(job_id)[0].latent_id
    assert (asked.prompt, asked.n) == ("a red fox", 1)
    assert varied.receiver is None
    assert f"by <@{stage.alice.user.id}> · {said} [this]({link_to(message)})" in varied.text


async def test_each_of_several_pictures_is_varied_by_its_number(stage: Stage) -> None:
    job_id, message = await stage.picture(count=4)
    menu = await stage.menu(message, "Vary…")
    asked, _ = await made(stage, menu, f"v1:strong:{job_id}:2.public")
    assert asked.latent_id == stage.service.fake_jobs.images(job_id)[2].latent_id


async def test_what_is_private_or_hidden_stays_so_through_a_menu(stage: Stage) -> None:
    _, message = await stage.picture(private=True, spoiler=True)
    menu = await stage.menu(message, "Vary…")
    _, varied = await made(stage, menu, "Subtle")
    assert varied.receiver == stage.alice.user
    [shown] = [item for part in walk(varied.components) for item in part.get("items", ())]
    assert shown["spoiler"]
    assert "https://" not in varied.text


async def test_larger_and_finer_draw_the_stored_composition_again(stage: Stage) -> None:
    job_id, message = await stage.picture(seed=7)
    latent_id = stage.service.fake_jobs.images(job_id)[0].latent_id
    menu = await stage.menu(message, "More…")
    assert "384×384" in menu.text  # noqa: RUF001
    larger, shown = await made(stage, menu, "Larger")
    assert (larger.kind, larger.latent_id) == ("decode", latent_id)
    assert (larger.width, larger.height, larger.decoder_seed) == (384, 384, 7)
    assert f"[this]({link_to(message)}), larger" in shown.text
    finer, shown = await made(stage, menu, "Finer")
    assert (finer.kind, finer.width, finer.decoder_steps) == ("decode", 256, 20)
    assert "), finer" in shown.text
    opened = await stage.menu(shown, "More…")
    assert list(opened.buttons) == ["Larger", "Series…", "Re-roll", "Info"]


async def test_larger_is_not_offered_where_the_model_has_no_such_size(stage: Stage) -> None:
    _, message = await stage.picture(aspect="landscape")
    menu = await stage.menu(message, "More…")
    assert list(menu.buttons) == ["Finer", "Series…", "Re-roll", "Info"]


async def test_a_re_roll_from_the_menu_is_as_public_as_the_picture(stage: Stage) -> None:
    _, message = await stage.picture(seed=7)
    menu = await stage.menu(message, "More…")
    asked, again = await made(stage, menu, "Re-roll")
    assert (asked.kind, asked.prompt) == ("generate", "a red fox")
    assert asked.seed != 7
    assert again.receiver is None
    assert f"[this]({link_to(message)}) with another seed" in again.text


async def test_buttons_of_earlier_versions_keep_working(stage: Stage) -> None:
    job_id, message = await stage.picture(seed=7)
    found = message.component(message.buttons["Vary…"]["custom_id"])
    assert found is not None
    found["custom_id"] = f"v1:reroll:{job_id}"
    clicked = await stage.alice.click(message, f"v1:reroll:{job_id}")
    again_id = await stage.submitted()
    await stage.finished(again_id, await clicked.reply(lambda m: "Cancel" in m.buttons))
    found["custom_id"] = f"v1:info:{job_id}"
    told = await (await stage.alice.click(message, f"v1:info:{job_id}")).reply()
    assert "a red fox" in told.text


async def test_a_kept_composition_takes_the_new_prompt_of_the_form(stage: Stage) -> None:
    job_id, message = await stage.picture(seed=7)
    opened = await (await stage.alice.click(message, "Edit")).acked()
    assert opened.prefilled["Keep the composition"] is False
    submitted = await stage.alice.submit(opened, prompt="a blue fox", keep=True)
    remix_id = await stage.submitted()
    asked = request_of(stage, remix_id)
    assert (asked.kind, asked.prompt, asked.strength) == ("vary", "a blue fox", 0.7)
    assert asked.latent_id == stage.service.fake_jobs.images(job_id)[0].latent_id
    message = await submitted.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(remix_id, message)
    assert "· composition of [this]" in message.text
    opened = await (await stage.alice.click(message, "Edit")).acked()
    assert opened.prefilled["Keep the composition"] is True, "its seed would not make it again"


async def test_a_kept_composition_keeps_its_size_and_is_that_of_one_picture(stage: Stage) -> None:
    _, message = await stage.picture(count=2)
    opened = await (await stage.alice.click(message, "Edit")).acked()
    for values, told in (
        ({"which": "0", "size": "384x384"}, "keeps its size, 256x256"),
        ({"which": "all"}, "Only one picture's composition"),
    ):
        answer = await (await stage.alice.submit(opened, keep=True, **values)).reply()
        assert told in answer.text
        assert answer.receiver == stage.alice.user
    assert stage.service.submitted.empty()


async def test_a_servers_rules_hold_for_a_remix_and_a_variation(stage: Stage) -> None:
    _, message = await stage.picture()
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    opened = await (await stage.alice.click(message, "Edit")).acked()
    menu = await stage.menu(message, "Vary…")
    await (await boss.slash(stage.channel, "admin blocklist", add="cat")).reply()
    answer = await (await stage.alice.submit(opened, prompt="a cat", keep=True)).reply()
    assert "“cat”" in answer.text
    await (await boss.slash(stage.channel, "admin limits", steps=5)).reply()
    answer = await (await stage.alice.click(menu, "Subtle")).reply()
    assert "option `steps` of `/imagine`" in answer.text
    assert stage.service.submitted.empty()


async def test_another_person_reads_from_more_how_a_picture_was_made(stage: Stage) -> None:
    _, message = await stage.picture()
    bob = stage.fake.person("bob", stage.channel.guild)
    told = await (await bob.click(message, "More…")).reply()
    assert told.receiver == bob.user
    assert "About this picture" in told.text
    refused = await (await bob.click(message, "Vary…")).reply()
    assert "another person" in refused.text
