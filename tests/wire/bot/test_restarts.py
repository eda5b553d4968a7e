"""Start, stop and restart of a bot, and tests that need a bot of their own."""

from __future__ import annotations

import io
from typing import Any

import pytest
from httpx import AsyncClient
from PIL import Image

from cascade_core.errors import Internal
from tests.wire.bot.conftest import Stage, delivered
from tests.wire.bot_messages import of_bot
from tests.wire.bot_process import StartBot, starting_bots
from tests.wire.fake_discord.interactions import Callback
from tests.wire.fake_discord.messages import Upload
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.server import FakeDiscord

MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL


async def test_what_finished_while_the_bot_was_dead_is_delivered_once(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot()
    jobs = [await stage.imagine(f"fox {number}") for number in range(3)]
    await bot.kill()
    for job_id, _ in jobs[:2]:
        await stage.service.succeed(job_id)
    await start_bot()
    for job_id, message in jobs[:2]:
        await stage.fake.wait_for(lambda message=message: "Edit" in message.buttons)  # type: ignore[misc]
        assert list(message.files.values()) == [await stage.bytes_of(job_id)]
    await stage.finished(*jobs[2])
    await delivered(stage)
    assert len(of_bot(stage.fake)) == 3


async def test_a_picture_that_was_submitted_before_a_restart_is_approved_after_it(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot()
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    await (await boss.slash(stage.channel, "admin approval", channel=stage.channel)).reply()
    job_id, message = await stage.picture()
    await (await stage.alice.click(await stage.menu(message, "More…"), "Submit")).reply()
    asked = await boss.sees(stage.channel, lambda m: "Approve" in m.buttons)
    await bot.kill()
    await start_bot()
    await boss.click(asked, "Approve")
    await stage.fake.wait_for(lambda: "Approved" in asked.text)
    (image,) = stage.service.fake_jobs.images(job_id)
    assert stage.service.database.assets.state(image.id) == "approved"


async def test_a_bot_whose_key_may_not_review_says_so(stage: Stage) -> None:
    _, key = stage.service.database.keys.create("plain bot", ["read", "create", "trusted"])
    async with starting_bots(stage.fake, stage.service.url, key) as start:
        await start()
        boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
        await (await boss.slash(stage.channel, "admin approval", channel=stage.channel)).reply()
        _, message = await stage.picture()
        await (await stage.alice.click(await stage.menu(message, "More…"), "Submit")).reply()
        asked = await boss.sees(stage.channel, lambda m: "Approve" in m.buttons)
        told = await (await boss.click(asked, "Approve")).reply(lambda m: m.receiver == boss.user)
        assert "with the scope `review`" in told.text
        assert "Approve" in asked.buttons


async def set_state(stage: Stage, job_id: str, state: dict[str, Any] | None) -> None:
    headers = {"authorization": f"Bearer {stage.service.make_key()}"}
    async with AsyncClient(base_url=stage.service.url, headers=headers) as client:
        answer = await client.patch(f"/v1/jobs/{job_id}", json={"client_state": state})
        assert answer.is_success


async def test_a_delivery_that_was_not_noted_is_not_delivered_as_a_second_message(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot()
    job_id, message = await stage.imagine()
    state = stage.service.database.jobs.get(job_id).client_state  # type: ignore[union-attr]
    await stage.finished(job_id, message)
    await delivered(stage)
    await bot.kill()
    await set_state(stage, job_id, state)
    await start_bot()
    await delivered(stage)
    assert of_bot(stage.fake) == [message]
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]


async def test_a_direct_message_that_was_sent_before_a_crash_is_not_sent_again(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot()
    job_id, _ = await stage.imagine(private=True)
    stage.fake.let_pass(16 * 60)
    state = stage.service.database.jobs.get(job_id).client_state  # type: ignore[union-attr]
    assert state is not None
    await stage.service.succeed(job_id)
    await delivered(stage)
    await bot.kill()
    await set_state(stage, job_id, state | {"claimed_at": 1.0})
    await start_bot()
    await delivered(stage)
    assert len(stage.fake.messages.of_channel(stage.fake.dm(stage.alice))) == 1


async def test_a_stop_brings_live_messages_to_rest_and_the_next_start_goes_on(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot()
    job_id, message = await stage.imagine()
    assert await bot.terminate() == 0
    assert "is restarting" in message.text
    await start_bot()
    await stage.finished(job_id, message)
    assert of_bot(stage.fake) == [message]


async def test_commands_are_put_in_place_once_and_again_only_when_they_changed(
    fake: FakeDiscord, start_bot: StartBot
) -> None:
    def puts() -> int:
        return len(fake.traffic.requests("PUT", "/commands$"))

    bot = await start_bot()
    names = {name for _, name in fake.commands[None]}
    assert names >= {"imagine", "show", "gallery", "queue", "settings", "admin", "Vary details"}
    await bot.logged(f"registered {len(names)} commands")
    await bot.terminate()
    assert puts() == 1
    again = await start_bot()
    await again.logged("the registered commands are up to date")
    await again.terminate()
    assert puts() == 1
    await start_bot(BOT_GUILDS=fake.guild().id)
    await fake.wait_for(lambda: puts() == 2)


async def test_after_a_restart_others_still_see_nothing_of_a_private_person(
    stage: Stage, start_bot: StartBot
) -> None:
    bob = stage.fake.person("bob", stage.channel.guild)
    bot = await start_bot()
    await (await stage.alice.slash(stage.channel, "settings", private=True)).reply()
    await bot.kill()
    await start_bot(BOT_SYNC="false")
    for _ in range(2):
        _, message = await stage.picture()
        assert message.receiver == stage.alice.user
    assert bob.messages(stage.channel) == []


@pytest.mark.usefixtures("bot")
async def test_the_status_tells_replicas_queue_and_errors(stage: Stage) -> None:
    job_id, _ = await stage.imagine()
    stage.service.fake_jobs.finish(job_id, "failed", Internal("x"))
    await stage.imagine("a second")
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    told = (await (await boss.slash(stage.channel, "admin status")).reply()).text
    for fact in ("Ready.", "StageC 1", "Waiting: 1", "100 %"):
        assert fact in told


async def test_two_shards_serve_their_servers(
    stage: Stage, fake: FakeDiscord, start_bot: StartBot
) -> None:
    fake.gateway.shard_count = 2
    guilds = [fake.guild(f"guild {number}", shard=number) for number in range(2)]
    await start_bot()
    for guild in guilds:
        stage.channel, stage.alice = fake.channel(guild), fake.person(f"of {guild.name}", guild)
        await stage.picture()


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
    varied = stage.service.database.jobs.get(varied_id)
    assert varied is not None
    assert varied.request.latent_id == stage.service.fake_jobs.images(job_id)[0].latent_id
    await stage.finished(varied_id, await clicked.reply(lambda m: "Cancel" in m.buttons))


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
        "Keep the composition": False,
    }
    await first.kill()
    await start_bot()
    submitted = await stage.alice.submit(opened, prompt="a blue fox", size="384x256", seed="8")
    job_id = await stage.submitted()
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    asked = (job.request.prompt, job.request.negative_prompt, job.request.width, job.request.seed)
    assert asked == ("a blue fox", "blur_ry", 384, 8)
    await stage.finished(job_id, await submitted.reply(lambda m: "Cancel" in m.buttons))


async def test_a_stop_answers_each_request_that_the_service_has_not_accepted(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot(BOT_GRACE_S="2")
    await stage.service.hang()
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox")
    await asked.acked()
    assert await bot.terminate() == 0
    answer = await asked.reply(lambda m: "try again in a minute" in m.text)
    assert f"`{int(asked.id):X}`" in answer.text


async def test_a_stop_waits_for_discord_no_longer_than_its_grace_period(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot(BOT_GRACE_S="1")
    await stage.imagine()
    stage.fake.faults.stall("PATCH", "/messages/", times=None)
    assert await bot.terminate() == 0  # an edit may take 40 s, this waits for 20


async def test_a_service_that_hangs_is_answered_for_at_once_and_told_of_with_a_reference(
    stage: Stage, start_bot: StartBot
) -> None:
    await start_bot(BOT_SERVICE_TIMEOUT_S="1.5")
    _, message = await stage.picture()
    await stage.service.hang()
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox")
    clicked = await stage.alice.click(message, "Vary details")
    for one in (asked, clicked):
        await one.acked()
        assert one.ack == Callback.DEFERRED_MESSAGE  # begun before anything was asked
        answer = await one.reply(lambda m: "not available right now" in m.text)
        assert answer.receiver == stage.alice.user
        assert f"`{int(one.id):X}`" in answer.text
    await stage.service.start()
    await stage.picture("another fox")


async def test_an_answer_that_was_dismissed_while_it_was_awaited_is_given_anew(
    stage: Stage, start_bot: StartBot
) -> None:
    await start_bot(BOT_SERVICE_TIMEOUT_S="1.5")
    await stage.service.hang()
    asked = await (await stage.alice.slash(stage.channel, "gallery")).acked()
    assert asked.original is not None
    await stage.alice.delete(asked.original)
    answer = await asked.reply(lambda m: "not available right now" in m.text)
    assert answer.receiver == stage.alice.user


async def test_the_form_for_a_persons_picture_works_across_a_restart_and_makes_one_job(
    stage: Stage, start_bot: StartBot
) -> None:
    first = await start_bot()
    file = io.BytesIO()
    Image.new("RGB", (400, 200)).save(file, "PNG")
    message = await stage.alice.say(stage.channel, "look", Upload("a.png", file.getvalue()))
    opened = await (await stage.alice.menu(message, "Start from this picture")).acked()
    await first.kill()
    second = await start_bot()
    submitted = await stage.alice.submit(opened, prompt="a blue fox")
    job_id = await stage.submitted()
    live = await submitted.reply(lambda m: "Cancel" in m.buttons)
    await second.kill()
    await start_bot()
    await stage.finished(job_id, live)
    await delivered(stage)
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    assert job.request.upload_id is not None
    assert len(of_bot(stage.fake)) == 1
    assert stage.service.submitted.empty()
