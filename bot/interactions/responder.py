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
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import UserError, error_message, is_fault
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

_RESPONDER = "responder"

logger = logging.getLogger(__name__)


class InteractionExpired(Exception):
    """Discord takes no answer to this interaction."""


def reference_of(interaction: Interaction) -> str:
    """Return the short name under which people and logs speak of an interaction."""
    return f"{interaction.id:X}"


class Responder:
    """What is said in answer to one interaction.

    Args:
        interaction: to be answered.
        catalog: what there is to say.
        metrics: measures the acknowledgement.

    Attributes:
        translate: in the language of who asked.
        is_private: the held answer is for them alone.
        is_undecided: it is so because it was not known in time whether others may see it.
        began_at: Unix time of the interaction's receipt.
    """

    def __init__(self, interaction: Interaction, catalog: Catalog, metrics: Metrics) -> None:
        self.interaction = interaction
        self.translate = Translator(catalog, interaction.locale.value)
        self.is_private = True
        self.is_undecided = False
        self.message_id: int | None = None
        self._catalog = catalog
        self._metrics = metrics
        self._state: str = "fresh"
        self._public_message: discord.WebhookMessage | None = None
        self.began_at = time.time()
        self._began_s = time.monotonic()
        interaction.extras[_RESPONDER] = self

    @classmethod
    def of(cls, interaction: Interaction, catalog: Catalog, metrics: Metrics) -> Self:
        """Return the responder that an interaction is in, or begin one."""
        responder: Self | None = interaction.extras.get(_RESPONDER)
        return responder or cls(interaction, catalog, metrics)

    @property
    def user_id(self) -> int:
        """Return who asked."""
        return self.interaction.user.id

    @property
    def user(self) -> str:
        """Return who asked, as the service knows them."""
        return f"discord:{self.interaction.user.id}"

    def public_translator(self) -> Translator:
        """Return the language of the place, for what everybody there sees."""
        locale = self.interaction.guild_locale
        return self.translate if locale is None else Translator(self._catalog, locale.value)

    async def defer(self, *, private: bool) -> None:
        """Acknowledge: an answer will come, as a message of its own.

        Raises:
            InteractionExpired: Discord takes no answer any more.
        """
        done = await self._acknowledge_first(
            self.interaction.response.defer(thinking=True, ephemeral=private)
        )
        self.is_private = private
        if done is not None:
            # Where people may not use apps of their own in public, Discord makes it private.
            self.is_private = private or done.is_ephemeral()
            self.message_id = done.message_id
        self._state = "held"

    async def defer_when_ready(
        self,
        preparing: Coroutine[Any, Any, Prepared],
        is_private: Callable[[Prepared], bool],
    ) -> Prepared:
        """Prepare an answer and acknowledge as it says, or privately if that takes long.

        Until then nothing is shown, so others do not see an order that is refused.

        Raises:
            InteractionExpired: Discord takes no answer any more.
        """
        task = asyncio.create_task(preparing)
        try:
            await asyncio.wait([task], timeout=PREPARE_S)
            if task.done():
                await self.defer(private=is_private(task.result()))
            else:
                await self.defer(private=True)
                self.is_undecided = True
            return await task
        finally:
            task.cancel()

    async def acknowledge(self) -> None:
        """Acknowledge: the message that was pressed on may change.

        Raises:
            InteractionExpired: Discord takes no answer any more.
        """
        await self._acknowledge_first(self.interaction.response.defer())
        self._state = "quiet"

    async def open_form(self, form: discord.ui.Modal) -> None:
        """Answer with a form.

        Raises:
            InteractionExpired: Discord takes no answer any more.
        """
        await self._acknowledge_first(self.interaction.response.send_modal(form))
        self._state = "said"

    async def send(self, layout: Layout) -> None:
        """Answer with a message: the one that was held, or one for them alone."""
        files = attachments(layout)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._state == "fresh":
                response = self.interaction.response
                await self._acknowledge_first(
                    response.send_message(view=layout, files=files, ephemeral=True)
                )
            elif self._state != "held" or not await self._fill_deferred(layout):
                await self.interaction.followup.send(view=layout, files=files, ephemeral=True)
        self._state = "said"

    async def edit_message(self, layout: Layout) -> None:
        """Change the message that was pressed on."""
        await self.interaction.edit_original_response(view=layout, attachments=attachments(layout))

    async def delete_message(self) -> None:
        """Delete the message that was pressed on, or the answer that was held."""
        try:
            await self.interaction.delete_original_response()
        except discord.NotFound:
            logger.info("the message was deleted already")

    async def switch_to_public(self, layout: Layout) -> None:
        """Give the held private answer back and begin a public one."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            message = await self._send_separately(layout, private=False)
        self.message_id, self.is_private = message.id, message.flags.ephemeral
        self._public_message = message

    async def send_error(self, error: BaseException) -> None:
        """Tell who asked, and nobody else, what went wrong."""
        words = error_message(error, self.translate, current_reference())
        layout = notice(words, FAILED_COLOUR if is_fault(error) else QUIET_COLOUR)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._public_message is not None:
                with suppress(discord.NotFound):
                    await self._public_message.delete()
            if self._state == "held" and not self.is_private:
                await self._send_separately(layout, private=True)
            else:
                await self.send(layout)

    async def handle_error(self, error: BaseException, name: str) -> None:
        """End an interaction that ran into an error: log it, count it, tell it."""
        if isinstance(error, InteractionExpired):
            self._metrics.interaction(name, "late")
            logger.warning("%s came too late to be answered", name)
            return
        if isinstance(error, UserError | CascadeError):
            self._metrics.interaction(name, "refused")
            logger.info("%s was refused: %r", name, error)
        else:
            self._metrics.interaction(name, "failed")
            logger.error("%s failed", name, exc_info=error)
        try:
            await self.send_error(error)
        except (discord.DiscordException, InteractionExpired, TimeoutError) as second:
            logger.warning("%s could not be answered: %r", name, second)

    async def _fill_deferred(self, layout: Layout) -> bool:
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

    async def _send_separately(self, layout: Layout, *, private: bool) -> discord.WebhookMessage:
        """Answer by a message of its own, in the place of the one that was held."""
        # While that one is there and says nothing, the next message would take its place, and be
        # as it is.
        await self.delete_message()
        self._state = "said"
        return await self.interaction.followup.send(
            view=layout, files=attachments(layout), ephemeral=private, wait=True
        )

    async def _acknowledge_first(self, answering: Any) -> Any:
        try:
            done = await answering
        except discord.InteractionResponded as error:
            raise InteractionExpired from error
        except discord.HTTPException as error:
            if error.code in _TOO_LATE:
                raise InteractionExpired from error
            raise
        self._metrics.ack_seconds.observe(time.monotonic() - self._began_s)
        return done
