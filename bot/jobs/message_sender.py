"""Edits and sends messages in Discord, and classifies Discord's answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Sequence
from enum import Enum
from io import BytesIO
from typing import Any

import aiohttp
import discord

from bot.jobs.delivery_target import DeliveryTarget
from bot.views.components import Layout

EDIT_TIMEOUT_S = 40.0
"""discord.py retries a 5xx for 25 s and waits for the end of any 429; this bounds both."""
UNKNOWN_MESSAGE = 10008
"""Discord's code for a message that was deleted."""

_HISTORY = 50
_TOO_LARGE = 40005
_BLOCKED_BY_MODERATION = (200000, 200001, 240000)

logger = logging.getLogger(__name__)


class SendResult(Enum):
    """The result of an attempt to edit or send a message.

    Attributes:
        DONE: the message shows the layout.
        GONE: the message was deleted.
        UNREACHABLE: the bot lacks the permission, the token or the channel.
        REFUSED: Discord does not accept this content.
        TOO_LARGE: Discord may accept smaller files.
        RETRY: Discord or the service does not answer; the same attempt may pass later.
    """

    DONE = "done"
    GONE = "gone"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    RETRY = "retry"


def attachments(layout: Layout) -> list[discord.File]:
    """Return new file objects for a layout; each attempt consumes them."""
    return [discord.File(BytesIO(data), name) for name, data in layout.files]


class MessageSender:
    """Edits the messages of jobs, by token or as the bot, and sends direct messages.

    Args:
        bot: a client that is logged in.
        timeout_s: limit of one attempt.
    """

    def __init__(self, bot: discord.Client, timeout_s: float = EDIT_TIMEOUT_S) -> None:
        self._bot = bot
        self._timeout_s = timeout_s

    async def edit(self, target: DeliveryTarget, layout: Layout) -> SendResult:
        """Show a layout in a target's message; a repeated edit changes nothing.

        A token sometimes fails before its 15 minutes are over. The bot then edits the message
        with its own permissions, where it has them.
        """
        result = SendResult.UNREACHABLE
        for edit in self._routes(target):
            this = await self._attempt(edit(target, layout))
            if this in (SendResult.DONE, SendResult.TOO_LARGE, SendResult.RETRY):
                return this
            result = SendResult.GONE if SendResult.GONE in (this, result) else this
        return result

    async def send_direct(self, user_id: int, layout: Layout, nonce: str) -> SendResult:
        """Send a layout as a direct message; Discord drops a second message with its nonce."""
        return await self._attempt(self._send_direct(user_id, layout, nonce))

    async def replace_privately(self, target: DeliveryTarget, layout: Layout) -> SendResult:
        """Replace a target's message by a private one; UNREACHABLE without a valid token."""
        if not target.has_token:
            return SendResult.UNREACHABLE
        result = await self._attempt(self._send_private(target, layout))
        if result is SendResult.DONE:
            await self._attempt(_webhook(target, self._bot).delete_message(target.message_id))
        return result

    async def has_sent_direct(self, user_id: int, job_id: str) -> bool:
        """Return True if one of the last direct messages to a user shows a job.

        Raises:
            discord.HTTPException: the messages cannot be read.
        """
        channel = await self._bot.create_dm(discord.Object(user_id))
        async for message in channel.history(limit=_HISTORY):
            if any(job_id in custom_id for custom_id in custom_ids_of(message.components)):
                return True
        return False

    def _routes(self, target: DeliveryTarget) -> Iterator[Any]:
        if target.has_token:
            yield self._edit_by_token
        if target.bot_may_edit:
            yield self._edit_as_bot

    async def _edit_by_token(self, target: DeliveryTarget, layout: Layout) -> None:
        await _webhook(target, self._bot).edit_message(
            target.message_id, view=layout, attachments=attachments(layout)
        )

    async def _send_private(self, target: DeliveryTarget, layout: Layout) -> None:
        await _webhook(target, self._bot).send(
            view=layout, files=attachments(layout), ephemeral=True
        )

    async def _edit_as_bot(self, target: DeliveryTarget, layout: Layout) -> None:
        channel = self._bot.get_partial_messageable(target.channel_id)
        message = channel.get_partial_message(target.message_id)
        await message.edit(view=layout, attachments=attachments(layout))

    async def _send_direct(self, user_id: int, layout: Layout, nonce: str) -> None:
        channel = await self._bot.create_dm(discord.Object(user_id))
        await channel.send(view=layout, files=attachments(layout), nonce=nonce)

    async def _attempt(self, attempt: Awaitable[Any]) -> SendResult:
        try:
            async with asyncio.timeout(self._timeout_s):
                await attempt
        except discord.HTTPException as error:
            result = result_of_error(error)
            logger.info("Discord answered %s/%s: %s", error.status, error.code, result.value)
            return result
        except (TimeoutError, aiohttp.ClientError, OSError, discord.DiscordException) as error:
            logger.info("Discord does not answer: %r", error)
            return SendResult.RETRY
        return SendResult.DONE


def _webhook(target: DeliveryTarget, bot: discord.Client) -> discord.Webhook:
    webhook = discord.Webhook.partial(target.application_id, target.token, client=bot)
    webhook.type = discord.WebhookType.application  # partial() does not set it for an interaction
    return webhook


def result_of_error(error: discord.HTTPException) -> SendResult:
    """Return the result that an error of Discord stands for."""
    if error.code == UNKNOWN_MESSAGE:
        return SendResult.GONE
    if error.status == 413 or error.code == _TOO_LARGE:
        return SendResult.TOO_LARGE
    if error.status == 429 or error.status >= 500:
        return SendResult.RETRY
    if error.code in _BLOCKED_BY_MODERATION or error.status == 400:
        return SendResult.REFUSED
    return SendResult.UNREACHABLE


def custom_ids_of(components: Sequence[Any]) -> Iterator[str]:
    """Yield the ids of all buttons and select menus in a message."""
    for component in components:
        if custom_id := getattr(component, "custom_id", None):
            yield custom_id
        yield from custom_ids_of(getattr(component, "children", ()))
