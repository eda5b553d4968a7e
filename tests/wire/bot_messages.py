"""Reads the bot's messages by their buttons."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.limits import HANG_S
from tests.wire.fake_discord.interactions import Interaction
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.server import FakeDiscord


def has_button(message: Message, action: str) -> bool:
    """Return True if a message has a button with an action, in any language."""
    return any(one.startswith(f"v1:{action}:") for one in _custom_ids(message))


async def opened_form(press: Callable[[], Awaitable[Interaction]]) -> Interaction:
    """Return the interaction whose form opened after a press.

    A form must open within three seconds. Where a busy machine keeps the service from answering in
    time, the bot says so, and the person presses again.
    """
    async with asyncio.timeout(HANG_S):
        while True:
            pressed = await (await press()).acked()
            if pressed.modal is not None:
                return pressed
            told = await pressed.reply()
            assert "Please try again in a minute" in told.text, told.text


def job_of(message: Message) -> str:
    """Return the id of the job that a message is about."""
    return next(one.split(":")[2] for one in _custom_ids(message) if one.startswith("v1:"))


def of_bot(fake: FakeDiscord) -> list[Message]:
    """Return every message of the bot that is not deleted."""
    everywhere = [message for c in fake.channels for message in fake.messages.of_channel(c)]
    return [m for m in everywhere if m.author == fake.bot and not m.is_deleted]


def _custom_ids(message: Message) -> list[str]:
    return [one.get("custom_id", "") for one in message.buttons.values()]
