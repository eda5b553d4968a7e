"""A bot that is killed at a critical moment delivers after its restart, and only once."""

from __future__ import annotations

import pytest

from tests.wire.bot.conftest import Stage, delivered
from tests.wire.bot_messages import has_button, of_bot
from tests.wire.bot_process import StartBot

EDIT = r"/webhooks/\d+/[^/]+/messages/"
SEND = r"^/channels/\d+/messages$"


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
async def test_killed_in_the_edit_that_shows_the_result(
    stage: Stage, start_bot: StartBot, after_effect: bool
) -> None:
    bot = await start_bot()
    job_id, message = await stage.imagine()
    held = stage.fake.faults.stall("PATCH", EDIT)
    held.after_effect, held.when = after_effect, lambda exchange: bool(exchange.files)
    await stage.service.succeed(job_id)
    await stage.fake.wait_for(lambda: held.used == 1)
    if after_effect:
        await stage.fake.wait_for(lambda: has_button(message, "edit"))
    await bot.kill()
    held.release()
    await start_bot()
    await stage.fake.wait_for(lambda: has_button(message, "edit"))
    await delivered(stage)
    assert of_bot(stage.fake) == [message]
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
async def test_killed_while_the_direct_message_is_sent(
    stage: Stage, start_bot: StartBot, after_effect: bool
) -> None:
    bot = await start_bot()
    job_id, _ = await stage.imagine(private=True)
    stage.fake.let_pass(16 * 60)
    held = stage.fake.faults.stall("POST", SEND)
    held.after_effect = after_effect
    direct = stage.fake.dm(stage.alice)
    await stage.service.succeed(job_id)
    await stage.fake.wait_for(lambda: held.used == 1)
    if after_effect:
        await stage.alice.sees(direct, lambda m: has_button(m, "edit"))
    await bot.kill()
    held.release()
    await start_bot()
    await delivered(stage)
    [message] = stage.fake.messages.of_channel(direct)
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]


async def test_killed_right_after_the_order_was_placed(stage: Stage, start_bot: StartBot) -> None:
    bot = await start_bot()
    asked = await stage.alice.slash(stage.channel, "imagine", prompt="a fox", private=True)
    job_id = await stage.submitted()
    await bot.kill()
    await stage.service.succeed(job_id)
    await start_bot()
    message = await asked.reply(lambda m: has_button(m, "edit"))
    await delivered(stage)
    assert of_bot(stage.fake) == [message]
