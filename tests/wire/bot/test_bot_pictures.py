"""From a prompt to a picture and on, over real sockets."""

from __future__ import annotations

import pytest

from tests.wire.bot.conftest import Stage
from tests.wire.bot_process import BotProcess, StartBot
from tests.wire.fake_discord.permissions import Permission


async def test_a_prompt_becomes_a_live_message_and_then_the_very_bytes_of_the_service(
    stage: Stage, bot: BotProcess
) -> None:
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a *red* fox", seed=7)
    job_id = await stage.submitted()
    message = await asked.reply(lambda m: "Cancel" in m.buttons)
    assert asked.ack_latency_s is not None
    assert asked.ack_latency_s < 1.0
    await stage.service.door.show_preview(job_id, "c", 6)
    await stage.fake.wait_for(lambda: "Composing 6/12" in message.text, 10)
    assert list(message.files) == ["preview-0-c-6.webp"]
    await stage.finished(job_id, message)
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]
    assert r"a \*red\* fox" in message.text
    assert "Seed `7`" in message.text
    assert bot.is_running


@pytest.mark.usefixtures("bot")
async def test_the_answer_is_begun_within_a_second_while_the_service_is_away(stage: Stage) -> None:
    await stage.service.stop()
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", private=True)
    await asked.acked()
    assert asked.ack_latency_s is not None
    assert asked.ack_latency_s < 1.0
    await stage.service.start()
    job_id = await stage.submitted()
    message = await asked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(job_id, message)


@pytest.mark.usefixtures("bot")
async def test_vary_starts_from_the_stored_latent(stage: Stage) -> None:
    job_id, message = await stage.picture(count=2)
    clicked = await stage.alice.click(message, "2")
    varied_id = await stage.submitted()
    varied = stage.service.database.job(varied_id)
    assert varied is not None
    assert varied.request.kind == "vary_details"
    assert varied.request.latent_id == stage.service.door.images(job_id)[1].latent_id
    answer = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(varied_id, answer)
    assert "New details in" in answer.text
    assert message is not answer


async def test_buttons_work_after_a_restart_of_bot_and_service(
    stage: Stage, start_bot: StartBot
) -> None:
    first = await start_bot()
    job_id, message = await stage.picture()
    await first.kill()
    await stage.service.stop()
    await stage.service.start()
    await start_bot()
    clicked = await stage.alice.click(message, "Vary details")
    varied_id = await stage.submitted()
    varied = stage.service.database.job(varied_id)
    assert varied is not None
    assert varied.request.latent_id == stage.service.door.images(job_id)[0].latent_id
    await stage.finished(varied_id, await clicked.reply(lambda m: "Cancel" in m.buttons))


@pytest.mark.usefixtures("bot")
async def test_a_latent_that_is_gone_is_told_kindly_and_to_who_asked_alone(stage: Stage) -> None:
    job_id, message = await stage.picture()
    stage.service.database.delete_image(stage.service.door.images(job_id)[0].id)
    clicked = await stage.alice.click(message, "Vary details")
    answer = await clicked.reply(lambda m: "deleted" in m.text)
    assert answer.receiver == stage.alice.user
    assert stage.service.submitted.empty()


@pytest.mark.usefixtures("bot")
async def test_a_strangers_click_is_refused_and_changes_nothing(stage: Stage) -> None:
    _, message = await stage.picture()
    mallory = stage.fake.person("mallory", stage.channel.guild)
    for label in ("Vary details", "Re-roll", "Edit", "Delete"):
        clicked = await mallory.click(message, label)
        answer = await clicked.reply()
        assert answer.receiver == mallory.user
        assert "somebody else" in answer.text or "moderator" in answer.text
    assert stage.service.submitted.empty()
    assert not message.is_deleted


@pytest.mark.usefixtures("bot")
async def test_a_double_click_makes_one_job(stage: Stage) -> None:
    _, message = await stage.picture()
    first = await stage.alice.click(message, "Re-roll")
    second = await stage.alice.click(message, "Re-roll")
    await first.acked()
    await second.acked()
    await stage.submitted()
    await first.reply(lambda m: "Cancel" in m.buttons)
    assert stage.service.submitted.empty()


@pytest.mark.usefixtures("bot")
async def test_a_moderator_may_delete_and_the_picture_goes_with_its_message(stage: Stage) -> None:
    job_id, message = await stage.picture()
    rights = Permission.MANAGE_MESSAGES | Permission.VIEW_CHANNEL
    mod = stage.fake.person("mod", stage.channel.guild, rights)
    await mod.click(message, "Delete")
    await stage.fake.wait_for(lambda: message.is_deleted)
    assert stage.service.door.images(job_id)[0].deleted_at is not None


@pytest.mark.usefixtures("bot")
async def test_one_of_several_pictures_can_be_deleted(stage: Stage) -> None:
    job_id, message = await stage.picture(count=2)
    await stage.alice.click(message, "Delete")
    await stage.fake.wait_for(lambda: "Delete 1" in message.buttons)
    await stage.alice.click(message, "Delete 1")
    await stage.fake.wait_for(lambda: len(message.files) == 1)
    assert list(message.files.values()) == [await stage.bytes_of(job_id, 1)]
    assert "Vary details" in message.buttons


@pytest.mark.usefixtures("bot")
async def test_info_tells_all_and_brings_the_original_file(stage: Stage) -> None:
    job_id, message = await stage.picture(negative="text")
    clicked = await stage.alice.click(message, "Info")
    answer = await clicked.reply(lambda m: job_id in m.text)
    assert answer.receiver == stage.alice.user
    assert list(answer.files.values()) == [await stage.bytes_of(job_id)]
    for fact in ("a red fox", "text", "256×256", "12 to compose", "composing"):  # noqa: RUF001
        assert fact in answer.text


@pytest.mark.usefixtures("bot")
async def test_cancel_ends_the_job_and_offers_another_try(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    await stage.alice.click(message, "Cancel")
    await stage.fake.wait_for(lambda: "Cancelled" in message.text)
    job = stage.service.database.job(job_id)
    assert job is not None
    assert job.state == "cancelled"
    assert list(message.buttons) == ["Try again"]


async def test_the_edit_form_is_filled_in_and_works_across_a_restart(
    stage: Stage, start_bot: StartBot
) -> None:
    first = await start_bot()
    _, message = await stage.picture("a *red* fox", negative="blur_ry", seed=7)
    opened = await (await stage.alice.click(message, "Edit")).acked()
    assert opened.prefilled == {
        "Prompt": "a *red* fox",
        "Without": "blur_ry",
        "Seed (empty: a new one)": "7",
        "Size": "256x256",
    }
    await first.kill()
    await start_bot()
    submitted = await stage.alice.submit(opened, prompt="a blue fox", size="384x256", seed="8")
    job_id = await stage.submitted()
    job = stage.service.database.job(job_id)
    assert job is not None
    asked = (job.request.prompt, job.request.negative_prompt, job.request.width, job.request.seed)
    assert asked == ("a blue fox", "blur_ry", 384, 8)
    await stage.finished(job_id, await submitted.reply(lambda m: "Cancel" in m.buttons))


@pytest.mark.usefixtures("bot")
async def test_a_button_of_another_version_is_answered(stage: Stage) -> None:
    old = {"type": 2, "style": 2, "label": "Vary", "custom_id": "v0:vary:123"}
    payload = {"flags": 1 << 15, "components": [{"type": 1, "components": [old]}]}
    message = await stage.fake.plant(stage.channel, payload, age_s=86400 * 90)
    answer = await (await stage.alice.click(message, "Vary")).reply()
    assert "older version" in answer.text
    assert answer.receiver == stage.alice.user
