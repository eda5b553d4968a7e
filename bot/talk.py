"""One interaction, from its acknowledgement to its last word.

Discord wants an answer within three seconds, so the first thing is always an acknowledgement, and
nothing that could take time comes before it. Whether an answer is public or for one person alone
is settled by that first word; this class knows how to change it afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Self

import discord

from bot.delivery import attachments
from bot.log import current_reference
from bot.metrics import Metrics
from bot.replies import Refusal, sentence
from bot.texts import Texts, Voice
from bot.ui.parts import FAILED_COLOUR, QUIET_COLOUR, Layout, notice
from cascade_core.errors import CascadeError

Interaction = discord.Interaction[Any]

ANSWER_TIMEOUT_S = 40.0
"""discord.py waits out any 429, however long; nobody waits for an answer as long as that."""
_TOO_LATE = (10062, 10015, 40060)
"""Unknown interaction, unknown webhook, answered already: nobody listens here any more."""

_TALK = "talk"

logger = logging.getLogger(__name__)


class TooLate(Exception):
    """Discord takes no answer to this interaction."""


def reference_of(interaction: Interaction) -> str:
    """Return the short name under which people and logs speak of an interaction."""
    return f"{interaction.id:X}"


class Talk:
    """What is said in answer to one interaction.

    Args:
        interaction: to be answered.
        texts: what there is to say.
        metrics: measures the acknowledgement.

    Attributes:
        voice: in the language of who asked.
        is_private: the held answer is for them alone.
        began_at: Unix time of the interaction's receipt.
    """

    def __init__(self, interaction: Interaction, texts: Texts, metrics: Metrics) -> None:
        self.interaction = interaction
        self.voice = Voice(texts, interaction.locale.value)
        self.is_private = True
        self.message_id: int | None = None
        self._texts = texts
        self._metrics = metrics
        self._state: str = "fresh"
        self._public_message: discord.WebhookMessage | None = None
        self.began_at = time.time()
        self._began_s = time.monotonic()
        interaction.extras[_TALK] = self

    @classmethod
    def of(cls, interaction: Interaction, texts: Texts, metrics: Metrics) -> Self:
        """Return the talk that an interaction is in, or begin one."""
        talk: Self | None = interaction.extras.get(_TALK)
        return talk or cls(interaction, texts, metrics)

    @property
    def user_id(self) -> int:
        """Return who asked."""
        return self.interaction.user.id

    @property
    def user(self) -> str:
        """Return who asked, as the service knows them."""
        return f"discord:{self.interaction.user.id}"

    def public_voice(self) -> Voice:
        """Return the language of the place, for what everybody there sees."""
        locale = self.interaction.guild_locale
        return self.voice if locale is None else Voice(self._texts, locale.value)

    async def hold(self, *, private: bool) -> None:
        """Acknowledge: an answer will come, as a message of its own.

        Raises:
            TooLate: Discord takes no answer any more.
        """
        done = await self._first(self.interaction.response.defer(thinking=True, ephemeral=private))
        self.is_private = private
        if done is not None:
            # Where people may not use apps of their own in public, Discord makes it private.
            self.is_private = private or done.is_ephemeral()
            self.message_id = done.message_id
        self._state = "held"

    async def quietly(self) -> None:
        """Acknowledge: the message that was pressed on may change.

        Raises:
            TooLate: Discord takes no answer any more.
        """
        await self._first(self.interaction.response.defer())
        self._state = "quiet"

    async def open_form(self, form: discord.ui.Modal) -> None:
        """Answer with a form.

        Raises:
            TooLate: Discord takes no answer any more.
        """
        await self._first(self.interaction.response.send_modal(form))
        self._state = "said"

    async def say(self, layout: Layout) -> None:
        """Answer with a message: the one that was held, or one for them alone."""
        files = attachments(layout)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._state == "fresh":
                response = self.interaction.response
                await self._first(response.send_message(view=layout, files=files, ephemeral=True))
            elif self._state == "held":
                await self.interaction.edit_original_response(view=layout, attachments=files)
            else:
                await self.interaction.followup.send(view=layout, files=files, ephemeral=True)
        self._state = "said"

    async def change_message(self, layout: Layout) -> None:
        """Change the message that was pressed on."""
        await self.interaction.edit_original_response(view=layout, attachments=attachments(layout))

    async def delete_message(self) -> None:
        """Delete the message that was pressed on, or the answer that was held."""
        try:
            await self.interaction.delete_original_response()
        except discord.NotFound:
            logger.info("the message was deleted already")

    async def go_public(self, layout: Layout) -> None:
        """Give the held private answer back and begin a public one."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            message = await self._say_apart(layout, private=False)
        self.message_id, self.is_private = message.id, message.flags.ephemeral
        self._public_message = message

    async def refuse(self, error: BaseException) -> None:
        """Tell who asked, and nobody else, what went wrong."""
        words = sentence(error, self.voice, current_reference())
        layout = notice(words, QUIET_COLOUR if isinstance(error, Refusal) else FAILED_COLOUR)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._public_message is not None:
                await self._public_message.delete()
            if self._state == "held" and not self.is_private:
                await self._say_apart(layout, private=True)
            else:
                await self.say(layout)

    async def fail(self, error: BaseException, name: str) -> None:
        """End an interaction that ran into an error: log it, count it, tell it."""
        if isinstance(error, TooLate):
            self._metrics.interaction(name, "late")
            logger.warning("%s came too late to be answered", name)
            return
        if isinstance(error, Refusal | CascadeError):
            self._metrics.interaction(name, "refused")
            logger.info("%s was refused: %r", name, error)
        else:
            self._metrics.interaction(name, "failed")
            logger.error("%s failed", name, exc_info=error)
        try:
            await self.refuse(error)
        except (discord.DiscordException, TooLate, TimeoutError) as second:
            logger.warning("%s could not be answered: %r", name, second)

    async def _say_apart(self, layout: Layout, *, private: bool) -> discord.WebhookMessage:
        """Answer by a message of its own, and take away the one that was held."""
        # As long as it says nothing, the next message would take its place, and be as it is.
        await self.interaction.edit_original_response(view=notice("…"))
        message = await self.interaction.followup.send(
            view=layout, files=attachments(layout), ephemeral=private, wait=True
        )
        await self.delete_message()
        self._state = "said"
        return message

    async def _first(self, answering: Any) -> Any:
        try:
            done = await answering
        except discord.InteractionResponded as error:
            raise TooLate from error
        except discord.HTTPException as error:
            if error.code in _TOO_LATE:
                raise TooLate from error
            raise
        self._metrics.ack_seconds.observe(time.monotonic() - self._began_s)
        return done
