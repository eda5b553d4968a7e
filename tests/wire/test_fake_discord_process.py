"""A bot's whole life in the emulator, as a process of its own over real sockets."""

from __future__ import annotations

from tests.wire.bot_process import running_bot
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel
from tests.wire.small_bot import picture

SMALL_BOT = "tests.wire.small_bot"


async def test_a_bot_of_its_own_process_draws_and_its_buttons_survive_a_kill(
    fake: FakeDiscord, channel: Channel, alice: Person
) -> None:
    async with running_bot(fake, SMALL_BOT) as bot:
        await bot.online()
        drawn = await alice.slash(channel, "draw", prompt="a cat", steps=12)
        message = await drawn.reply(lambda m: "12 steps" in m.text)
        await bot.kill()

    async with running_bot(fake, SMALL_BOT) as bot:
        await bot.online()
        clicked = await alice.click(message, "Vary")
        await clicked.reply(lambda m: "varied 1 times" in m.text)
        opened = await (await alice.click(message, "Edit")).acked()
        submitted = await alice.submit(opened, New_prompt="a dog", Size=["wide"])
        answer = await submitted.reply()
        assert await bot.terminate() != 0  # discord.py's own run knows Ctrl-C alone

    assert drawn.ack_latency_s is not None
    assert drawn.ack_latency_s < fake.rules.ack_deadline_s
    assert [shot.text for shot in message.history] == [
        "",
        "step 1",
        "a cat, 12 steps, none",
        "varied 1 times",
    ]
    assert message.files == {"picture.png": picture("blue")}
    assert opened.prefilled == {"New prompt": "a cat", "Size": ["square"]}
    assert (answer.text, answer.receiver) == ("a dog, wide", alice.user)
