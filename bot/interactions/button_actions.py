"""What happens when somebody presses a button or submits the form.

Presses are routed by their custom id alone, here, for messages of any age. discord.py's own views
and dynamic items would drop ids that they do not know without a word to who pressed, and keep what
they raise to the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import discord

from bot.interactions.lookup import Library
from bot.interactions.responder import Interaction, Talk
from bot.interactions.submission import Desk
from bot.jobs.destination import Address, shown_before
from bot.policy import job_request as orders
from bot.policy.job_request import EditedValues, Order
from bot.policy.prompt_parameters import check_parameters
from bot.policy.user_defaults import Defaults
from bot.service.client import CascadeClient
from bot.service.models import Job
from bot.text.error_messages import Refusal
from bot.views import panels
from bot.views.components import notice
from bot.views.custom_ids import Action, CustomId
from bot.views.modals import EditForm, values_from
from bot.views.picture_messages import has_spoiler, shown_in
from cascade_core.errors import NotFound, NotReady

_FORM_S = 1.5
_TWICE_S = 3.0
_ONCE = ("vary", "reroll", "again", "erase")
"""Done once when they are pressed twice in a row: what makes a job or deletes a picture."""

Handler = Callable[[Talk, CustomId], Awaitable[None]]


class Actions:
    """The buttons.

    Args:
        client: of the service.
        desk: takes orders.
        library: shows pictures that are there.
    """

    def __init__(self, client: CascadeClient, desk: Desk, library: Library) -> None:
        self._client = client
        self._desk = desk
        self._library = library
        self._pressed: dict[tuple[int, int, str], float] = {}
        self._handlers: dict[Action, Handler] = {
            "vary": self._vary,
            "reroll": self._reroll,
            "again": self._again,
            "edit": self._edit,
            "info": self._info,
            "more": self._more,
            "delete": self._delete,
            "erase": self._erase,
            "cancel": self._cancel,
            "drop": self._drop,
            "show": self._show,
            "page": self._page,
        }

    async def press(self, talk: Talk, pressed: CustomId) -> None:
        """Do what a button says."""
        if pressed.action in _ONCE and self._is_second(talk.interaction, pressed):
            await talk.quietly()
            return
        await self._handlers[pressed.action](talk, pressed)

    async def submit(self, talk: Talk, submitted: CustomId) -> None:
        """Order what the form says."""
        values = values_from(talk.interaction.data or {}, submitted.arg)
        check_parameters(talk.voice, values.prompt, values.negative_prompt)

        async def make(defaults: Defaults) -> Order:
            job = await self._client.job(submitted.target, talk.user)
            return orders.edit(job, values, _like(talk.interaction.message, defaults))

        await self._desk.place(talk, make)

    async def vary_in(self, talk: Talk, message: discord.Message) -> None:
        """Order other details of one's picture in a message, whoever posted it."""

        async def make(defaults: Defaults) -> Order:
            shown, index = await self._library.find_in(message, talk)
            job = await self._library.own(shown.id, talk.user)
            image = orders.find_image(job, index)
            return orders.vary(job, image.index, _like(message, defaults))

        await self._desk.place(talk, make)

    async def _vary(self, talk: Talk, pressed: CustomId) -> None:
        _check_owner(talk.interaction)

        async def make(defaults: Defaults) -> Order:
            job = await self._client.job(pressed.target, talk.user)
            image = orders.find_image(job, pressed.index)
            return orders.vary(job, image.index, _like(talk.interaction.message, defaults))

        await self._desk.place(talk, make)

    async def _reroll(self, talk: Talk, pressed: CustomId) -> None:
        _check_owner(talk.interaction)

        async def make(defaults: Defaults) -> Order:
            job = await self._client.job(pressed.target, talk.user)
            return orders.reroll(job, _like(talk.interaction.message, defaults))

        await self._desk.place(talk, make)

    async def _again(self, talk: Talk, pressed: CustomId) -> None:
        _check_owner(talk.interaction)

        async def make(defaults: Defaults) -> Order:
            job = await self._client.job(pressed.target, talk.user)
            shown = shown_before(job.client_state)  # the message has no pictures to tell it
            like = replace(_like(talk.interaction.message, defaults), spoiler=shown.spoiler)
            return orders.again(job, shown.of, like)

        await self._desk.place(talk, make)

    async def _edit(self, talk: Talk, pressed: CustomId) -> None:
        _check_owner(talk.interaction)
        shown = shown_in(_components(talk.interaction.message))
        values = shown.values
        if shown.is_cut:
            values = await self._uncut(values, pressed.target)
        form = EditForm(talk.voice, pressed.target, values, shown.indices, not shown.is_variation)
        await talk.open_form(form)

    async def _uncut(self, values: EditedValues, job_id: str) -> EditedValues:
        """Return values with the job's whole texts; a form has to open within three seconds.

        Raises:
            NotReady: the service does not answer in time.
        """
        try:
            async with asyncio.timeout(_FORM_S):
                request = (await self._client.job(job_id)).request
        except TimeoutError as error:
            raise NotReady("the service did not answer in time") from error
        return replace(values, prompt=request.prompt, negative_prompt=request.negative_prompt)

    async def _info(self, talk: Talk, pressed: CustomId) -> None:
        await talk.hold(private=True)
        await talk.say(await self._library.info(pressed.target, talk))

    async def _more(self, talk: Talk, pressed: CustomId) -> None:
        await talk.hold(private=True)
        await talk.say(panels.ids(talk.voice, await self._client.job(pressed.target)))

    async def _delete(self, talk: Talk, pressed: CustomId) -> None:
        _check_may_remove(talk.interaction)
        await talk.quietly()
        job = await self._own_job(talk, pressed.target)
        if job is None:
            await talk.delete_message()
            return
        if job.state == "succeeded" and len(job.images) > 1:
            await talk.change_message(await self._library.picture(job, talk, choose_to_delete=True))
            return
        for image in job.images:
            await self._client.delete_image(image.id, talk.user)
        await talk.delete_message()

    async def _erase(self, talk: Talk, pressed: CustomId) -> None:
        _check_may_remove(talk.interaction)
        await talk.quietly()
        job = await self._own_job(talk, pressed.target)
        if job is None:
            if pressed.arg != "all":
                raise Refusal.because("not_your_job")
            await talk.delete_message()
            return
        for image in job.images:
            if pressed.arg == "all" or image.index == pressed.index:
                await self._client.delete_image(image.id, talk.user)
        left = await self._client.job(job.id, talk.user)
        if left.images:
            await talk.change_message(await self._library.picture(left, talk))
        else:
            await talk.delete_message()

    async def _own_job(self, talk: Talk, job_id: str) -> Job | None:
        """Return the job in a message that may be removed; None if only the message may be.

        It is so for moderators: they decide what is seen here, and the picture stays its owner's.
        And where the service no longer has the job.

        Raises:
            Refusal: neither the message nor the service says that it is this person's.
        """
        if not _is_own(talk.interaction):
            return None
        try:
            return await self._client.job(job_id, talk.user)
        except NotFound:
            if not (_names_owner(talk.interaction) or _is_moderator(talk.interaction)):
                raise Refusal.because("not_your_job") from None
            return None

    async def _cancel(self, talk: Talk, pressed: CustomId) -> None:
        _check_may_remove(talk.interaction)
        await talk.quietly()
        user: str | None = talk.user
        if not _is_own(talk.interaction):
            # An id in a button is no proof that the job belongs to this message.
            address = Address.from_state((await self._client.job(pressed.target)).client_state)
            message = talk.interaction.message
            if address is None or message is None or address.message_id != message.id:
                raise Refusal.because("not_your_job")
            user = None
        # The courier hears of it and changes the message.
        await self._client.cancel(pressed.target, user)

    async def _drop(self, talk: Talk, pressed: CustomId) -> None:
        await talk.quietly()
        targets = [pressed.target]
        if pressed.target == panels.ALL:
            targets = [job.id for job in await self._library.open_jobs(talk.user)]
        await asyncio.gather(*(self._client.cancel(job_id, talk.user) for job_id in targets))
        await talk.change_message(await self._library.queue(talk))

    async def _show(self, talk: Talk, pressed: CustomId) -> None:
        await talk.hold(private=True)
        job = await self._client.job(pressed.target, talk.user)
        await talk.say(await self._library.picture(job, talk))

    async def _page(self, talk: Talk, pressed: CustomId) -> None:
        await talk.quietly()
        page = int(pressed.target) if pressed.target.isdecimal() else 0
        await talk.change_message(await self._library.page(talk, page))

    def _is_second(self, interaction: Interaction, pressed: CustomId) -> bool:
        now_s = time.monotonic()
        message_id = interaction.message.id if interaction.message else 0
        key = (interaction.user.id, message_id, str(pressed))
        is_second = now_s - self._pressed.get(key, -_TWICE_S) < _TWICE_S
        self._pressed = {
            known: at_s for known, at_s in self._pressed.items() if now_s - at_s < _TWICE_S
        }
        self._pressed[key] = now_s
        return is_second


async def answer_expired(talk: Talk) -> None:
    """Answer a press on a button of another version."""
    await talk.say(notice(talk.voice("error.expired")))


def _like(message: discord.Message | None, defaults: Defaults) -> Order:
    """Return an order as private and as hidden as the message that it comes from."""
    is_ephemeral = message is not None and message.flags.ephemeral
    return Order(
        private=defaults.private or is_ephemeral,
        preview=defaults.preview,
        spoiler=has_spoiler(_components(message)),
        source="" if message is None else _link(message),
    )


def _link(message: discord.Message) -> str:
    """Return the link to a message; nothing for one that only one person sees."""
    return "" if message.flags.ephemeral else message.jump_url


def _components(message: discord.Message | None) -> list[dict[str, Any]]:
    return [] if message is None else [dict(part.to_dict()) for part in message.components]


def _names_owner(interaction: Interaction) -> bool:
    """Return True if the message names its person, or is a direct message."""
    message = interaction.message
    is_named = message is not None and message.interaction_metadata is not None
    return is_named or interaction.guild_id is None


def _is_moderator(interaction: Interaction) -> bool:
    return interaction.guild_id is not None and interaction.permissions.manage_messages


def _is_own(interaction: Interaction) -> bool:
    """Return True unless the message itself says that it belongs to another person."""
    message = interaction.message
    metadata = None if message is None else message.interaction_metadata
    return metadata is None or metadata.user.id == interaction.user.id


def _check_owner(interaction: Interaction) -> None:
    """Refuse a stranger at once, where the message itself says whose it is.

    Raises:
        Refusal: somebody else asked for this message. The service checks again.
    """
    if not _is_own(interaction):
        raise Refusal.because("not_yours")


def _check_may_remove(interaction: Interaction) -> None:
    """Check that a message may be removed: by its owner, or by a moderator.

    Raises:
        Refusal: neither.
    """
    if not (_is_moderator(interaction) or _is_own(interaction)):
        raise Refusal.because("not_your_job")
