"""Responds to one interaction: acknowledges it, then sends one answer or one error.

Discord requires an acknowledgement within three seconds, so work that may take longer than
:data:`PREPARE_S` comes after it. The acknowledgement also decides whether the answer is public or
private; :meth:`Responder.switch_to_public` changes that afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal, Self, TypeVar

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
"""How long an acknowledgement waits for the decision whether the answer is private."""

FORM_S = 1.5
"""How long the work before a form may take; nothing can be acknowledged before it."""
ANSWER_TIMEOUT_S = 40.0
"""discord.py waits for the end of any 429, however long; this bounds the wait for an answer."""
_TOO_LATE = (10062, 10015, 40060)
"""Discord's codes for an unknown interaction, an unknown webhook, and one answered already."""

ResponseState = Literal["new", "deferred", "acknowledged", "answered"]
"""``deferred``: an answer was announced; ``acknowledged``: the pressed message may change."""
_RESPONDER = "responder"

logger = logging.getLogger(__name__)


class InteractionExpired(Exception):
    """Discord no longer accepts an answer to this interaction."""


def reference_of(interaction: Interaction) -> str:
    """Return the short id of an interaction that people and logs refer to."""
    return f"{interaction.id:X}"


class Responder:
    """Sends the responses to one interaction.

    Args:
        interaction: the interaction to respond to.
        catalog: the bot's sentences.
        metrics: measures the acknowledgement and counts outcomes.

    Attributes:
        translate: translates into the person's language.
        is_private: only the person sees the deferred answer.
        is_undecided: the answer is private only because the decision took too long.
        message_id: of the deferred or public message; None while unknown.
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
        self._state: ResponseState = "new"
        self._public_message: discord.WebhookMessage | None = None
        self.began_at = time.time()
        self._began_s = time.monotonic()
        interaction.extras[_RESPONDER] = self

    @classmethod
    def of(cls, interaction: Interaction, catalog: Catalog, metrics: Metrics) -> Self:
        """Return the interaction's responder, or a new one."""
        responder: Self | None = interaction.extras.get(_RESPONDER)
        return responder or cls(interaction, catalog, metrics)

    @property
    def user_id(self) -> int:
        """Return the Discord id of the person."""
        return self.interaction.user.id

    @property
    def user(self) -> str:
        """Return the person's name in the service."""
        return f"discord:{self.interaction.user.id}"

    def public_translator(self) -> Translator:
        """Return the translator for messages that all people in the channel see."""
        locale = self.interaction.guild_locale
        return self.translate if locale is None else Translator(self._catalog, locale.value)

    async def defer(self, *, private: bool) -> None:
        """Acknowledge by announcing an answer, which :meth:`send` fills in.

        Raises:
            InteractionExpired: Discord no longer accepts an answer.
        """
        done = await self._respond_first(
            self.interaction.response.defer(thinking=True, ephemeral=private)
        )
        self.is_private = private
        if done is not None:
            # Where user-installed apps may not post publicly, Discord makes the answer private.
            self.is_private = private or done.is_ephemeral()
            self.message_id = done.message_id
        self._state = "deferred"

    async def defer_when_ready(
        self,
        preparing: Coroutine[Any, Any, Prepared],
        is_private: Callable[[Prepared], bool],
    ) -> Prepared:
        """Prepare a value, then defer as ``is_private`` says; defer privately if that takes long.

        Nothing is shown before, so other people do not see a request that is refused.

        Raises:
            InteractionExpired: Discord no longer accepts an answer.
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
        """Acknowledge without an answer; the pressed message may change afterwards.

        Raises:
            InteractionExpired: Discord no longer accepts an answer.
        """
        await self._respond_first(self.interaction.response.defer())
        self._state = "acknowledged"

    async def open_form(self, form: discord.ui.Modal) -> None:
        """Answer with a form.

        Raises:
            InteractionExpired: Discord no longer accepts an answer.
        """
        await self._respond_first(self.interaction.response.send_modal(form))
        self._state = "answered"

    async def send(self, layout: Layout) -> None:
        """Answer with the deferred message; without one, with a private message."""
        files = attachments(layout)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._state == "new":
                response = self.interaction.response
                await self._respond_first(
                    response.send_message(view=layout, files=files, ephemeral=True)
                )
            elif self._state != "deferred" or not await self._fill_deferred(layout):
                await self.interaction.followup.send(view=layout, files=files, ephemeral=True)
        self._state = "answered"

    async def edit_message(self, layout: Layout) -> None:
        """Edit the pressed message."""
        await self.interaction.edit_original_response(view=layout, attachments=attachments(layout))

    async def delete_message(self) -> None:
        """Delete the pressed message, or the deferred answer."""
        try:
            await self.interaction.delete_original_response()
        except discord.NotFound:
            logger.info("the message is deleted already")

    async def switch_to_public(self, layout: Layout) -> None:
        """Replace the deferred private answer by a public message."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            message = await self._send_separately(layout, private=False)
        self.message_id, self.is_private = message.id, message.flags.ephemeral
        self._public_message = message

    async def send_error(self, error: BaseException) -> None:
        """Send an error's message to the person alone."""
        message = error_message(error, self.translate, current_reference())
        layout = notice(message, FAILED_COLOUR if is_fault(error) else QUIET_COLOUR)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._public_message is not None:
                with suppress(discord.NotFound):
                    await self._public_message.delete()
            if self._state == "deferred" and not self.is_private:
                await self._send_separately(layout, private=True)
            else:
                await self.send(layout)

    async def handle_error(self, error: BaseException, name: str) -> None:
        """Log and count the error that ended an interaction, and send its message."""
        if isinstance(error, InteractionExpired):
            self._metrics.interaction(name, "late")
            logger.warning("%s expired before its answer", name)
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
        """Put an answer into the deferred message; return False if that was deleted meanwhile."""
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
        """Answer with a new message in place of the deferred one."""
        # Discord would use the next message to fill in the deferred one and keep its privacy, so
        # the deferred one is deleted first.
        await self.delete_message()
        self._state = "answered"
        return await self.interaction.followup.send(
            view=layout, files=attachments(layout), ephemeral=private, wait=True
        )

    async def _respond_first(self, answering: Any) -> Any:
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
