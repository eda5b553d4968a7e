"""One interaction, from its acknowledgement to its last word.

Discord wants an answer within three seconds, so nothing that could take longer than
:data:`PREPARE_S` comes before the acknowledgement. Whether an answer is public or for one person
alone is settled by that first word; this class knows how to change it afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

import discord

from bot.jobs.message_sender import UNKNOWN_MESSAGE, attachments
from bot.telemetry.log import current_reference
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Texts, Voice
from bot.text.error_messages import Refusal, is_fault, sentence
from bot.views.components import FAILED_COLOUR, QUIET_COLOUR, Layout, notice
from cascade_core.errors import CascadeError

Interaction = discord.Interaction[Any]
Prepared = TypeVar("Prepared")

PREPARE_S = 0.4
"""How long an acknowledgement waits for what decides whether others may see the answer."""

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
        is_undecided: it is so because it was not known in time whether others may see it.
        began_at: Unix time of the interaction's receipt.
    """

    def __init__(self, interaction: Interaction, texts: Texts, metrics: Metrics) -> None:
        self.interaction = interaction
        self.voice = Voice(texts, interaction.locale.value)
        self.is_private = True
        self.is_undecided = False
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

    async def hold_when_ready(
        self,
        preparing: Coroutine[Any, Any, Prepared],
        is_private: Callable[[Prepared], bool],
    ) -> Prepared:
        """Prepare an answer and acknowledge as it says, or privately if that takes long.

        Until then nothing is shown, so others do not see an order that is refused.

        Raises:
            TooLate: Discord takes no answer any more.
        """
        task = asyncio.create_task(preparing)
        try:
            await asyncio.wait([task], timeout=PREPARE_S)
            if task.done():
                await self.hold(private=is_private(task.result()))
            else:
                await self.hold(private=True)
                self.is_undecided = True
            return await task
        finally:
            task.cancel()

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
            elif self._state != "held" or not await self._fill(layout):
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
        layout = notice(words, FAILED_COLOUR if is_fault(error) else QUIET_COLOUR)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._public_message is not None:
                with suppress(discord.NotFound):
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

    async def _fill(self, layout: Layout) -> bool:
        """Put an answer into the message that was held; False: it was deleted meanwhile."""
        try:
            await self.interaction.edit_original_response(
                view=layout, attachments=attachments(layout)
            )
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            return False
        return True

    async def _say_apart(self, layout: Layout, *, private: bool) -> discord.WebhookMessage:
        """Answer by a message of its own, in the place of the one that was held."""
        # While that one is there and says nothing, the next message would take its place, and be
        # as it is.
        await self.delete_message()
        self._state = "said"
        return await self.interaction.followup.send(
            view=layout, files=attachments(layout), ephemeral=private, wait=True
        )

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
