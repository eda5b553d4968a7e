"""Messages on their way to Discord, and what its many answers mean for a delivery."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from enum import Enum
from io import BytesIO
from typing import Any

import aiohttp
import discord

from bot.jobs.destination import Address
from bot.views.components import Layout

EDIT_TIMEOUT_S = 40.0
"""discord.py repeats a 5xx for 25 s and waits out any 429; this bounds both."""
UNKNOWN_MESSAGE = 10008
"""Discord's code for a message that was deleted."""

_HISTORY = 50
_TOO_LARGE = 40005
_BLOCKED_BY_MODERATION = (200000, 200001, 240000)

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """How an attempt ended.

    DONE: it is shown. GONE: the message was deleted. UNREACHABLE: no right, no token, no such
    channel. REFUSED: Discord will not have this content. TOO_LARGE: smaller files may pass.
    LATER: Discord or the service does not answer well; the same again may pass.
    """

    DONE = "done"
    GONE = "gone"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    LATER = "later"


def attachments(layout: Layout) -> list[discord.File]:
    """Return a layout's files, fresh: each attempt uses them up."""
    return [discord.File(BytesIO(data), name) for name, data in layout.files]


class Postman:
    """Edits the messages that jobs live in, by token or as the bot, and sends direct messages.

    Args:
        bot: logged in.
        timeout_s: for one attempt.
    """

    def __init__(self, bot: discord.Client, timeout_s: float = EDIT_TIMEOUT_S) -> None:
        self._bot = bot
        self._timeout_s = timeout_s

    async def edit(self, address: Address, layout: Layout) -> Outcome:
        """Show a layout in the message at an address; doing it again changes nothing.

        Discord's tokens fail now and then inside their quarter of an hour, so where the bot may
        edit its message itself, it tries that next.
        """
        outcome = Outcome.UNREACHABLE
        for edit in self._ways(address):
            this = await self._attempt(edit(address, layout))
            if this in (Outcome.DONE, Outcome.TOO_LARGE, Outcome.LATER):
                return this
            outcome = Outcome.GONE if Outcome.GONE in (this, outcome) else this
        return outcome

    async def send_direct(self, user_id: int, layout: Layout, nonce: str) -> Outcome:
        """Send a layout as a direct message; Discord drops a second one with the same nonce."""
        return await self._attempt(self._send_direct(user_id, layout, nonce))

    async def tell_apart(self, address: Address, layout: Layout) -> Outcome:
        """Show a layout to the asker alone, in the place of the message at an address.

        That takes the interaction's token; without it the answer is UNREACHABLE.
        """
        if not address.has_token:
            return Outcome.UNREACHABLE
        outcome = await self._attempt(self._send_apart(address, layout))
        if outcome is Outcome.DONE:
            await self._attempt(_webhook(address, self._bot).delete_message(address.message_id))
        return outcome

    async def has_direct(self, user_id: int, job_id: str) -> bool:
        """Tell whether one of the last direct messages to a user shows a job.

        Raises:
            discord.HTTPException: they cannot be read.
        """
        channel = await self._bot.create_dm(discord.Object(user_id))
        async for message in channel.history(limit=_HISTORY):
            if any(job_id in custom_id for custom_id in custom_ids_of(message.components)):
                return True
        return False

    def _ways(self, address: Address) -> Iterator[Any]:
        if address.has_token:
            yield self._edit_by_token
        if address.bot_may_edit:
            yield self._edit_as_bot

    async def _edit_by_token(self, address: Address, layout: Layout) -> None:
        await _webhook(address, self._bot).edit_message(
            address.message_id, view=layout, attachments=attachments(layout)
        )

    async def _send_apart(self, address: Address, layout: Layout) -> None:
        await _webhook(address, self._bot).send(
            view=layout, files=attachments(layout), ephemeral=True
        )

    async def _edit_as_bot(self, address: Address, layout: Layout) -> None:
        channel = self._bot.get_partial_messageable(address.channel_id)
        message = channel.get_partial_message(address.message_id)
        await message.edit(view=layout, attachments=attachments(layout))

    async def _send_direct(self, user_id: int, layout: Layout, nonce: str) -> None:
        channel = await self._bot.create_dm(discord.Object(user_id))
        await channel.send(view=layout, files=attachments(layout), nonce=nonce)

    async def _attempt(self, doing: Any) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout_s):
                await doing
        except discord.HTTPException as error:
            outcome = meaning(error)
            logger.info("Discord answered %s/%s: %s", error.status, error.code, outcome.value)
            return outcome
        except (TimeoutError, aiohttp.ClientError, OSError, discord.DiscordException) as error:
            logger.info("Discord does not answer: %r", error)
            return Outcome.LATER
        return Outcome.DONE


def _webhook(address: Address, bot: discord.Client) -> discord.Webhook:
    webhook = discord.Webhook.partial(address.application_id, address.token, client=bot)
    webhook.type = discord.WebhookType.application  # an interaction's, which partial() cannot know
    return webhook


def meaning(error: discord.HTTPException) -> Outcome:
    """Return what an error of Discord means for a delivery."""
    if error.code == UNKNOWN_MESSAGE:
        return Outcome.GONE
    if error.status == 413 or error.code == _TOO_LARGE:
        return Outcome.TOO_LARGE
    if error.status == 429 or error.status >= 500:
        return Outcome.LATER
    if error.code in _BLOCKED_BY_MODERATION or error.status == 400:
        return Outcome.REFUSED
    return Outcome.UNREACHABLE


def custom_ids_of(components: Sequence[Any]) -> Iterator[str]:
    """Yield the ids of all buttons in a message."""
    for component in components:
        if custom_id := getattr(component, "custom_id", None):
            yield custom_id
        yield from custom_ids_of(getattr(component, "children", ()))
