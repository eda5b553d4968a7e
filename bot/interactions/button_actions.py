"""Handles presses on buttons and submissions of forms.

Presses are routed by their custom id alone, here, for messages of any age. discord.py's own views
and dynamic items would ignore unknown ids without an answer, and would only log their errors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bot.interactions.approvals import Approvals
from bot.interactions.form_actions import FormActions
from bot.interactions.lookup import PictureLookup
from bot.interactions.menu_actions import MenuActions
from bot.interactions.pressed_message import (
    check_may_remove,
    is_moderator,
    is_own,
    names_owner,
)
from bot.interactions.remakes import Remakes
from bot.interactions.responder import Interaction, Responder
from bot.interactions.start_actions import StartActions
from bot.interactions.submission import Submission
from bot.jobs.delivery_target import DeliveryTarget, presentation_of
from bot.service.client import CascadeClient
from bot.service.models import Job
from bot.text.error_messages import UserError
from bot.views import comparison_messages, info_messages
from bot.views.components import notice
from bot.views.custom_ids import Action, CustomId
from cascade_core.errors import NotFound

_TWICE_S = 3.0
_ONCE = (
    "vary",
    "reroll",
    "again",
    "erase",
    "subtle",
    "strong",
    "larger",
    "finer",
    "pick",
    "submit",
)
"""Actions that make a job, submit or delete a picture; a second press in `_TWICE_S` is ignored."""

Handler = Callable[[Responder, CustomId], Awaitable[None]]


class ButtonActions:
    """The handlers of all buttons and forms.

    Args:
        client: the service's client.
        submission: submits requests.
        lookup: finds jobs and pictures.

    Attributes:
        remakes: submits the jobs that buttons make.
        starts: opens the form of *Start from this picture*.
        approvals: submits pictures, and carries decisions on them.
    """

    def __init__(
        self, client: CascadeClient, submission: Submission, lookup: PictureLookup
    ) -> None:
        self._client = client
        self._lookup = lookup
        self.remakes = Remakes(submission, lookup)
        self.starts = StartActions(client, submission, lookup)
        self.approvals = Approvals(client, submission, lookup)
        forms = FormActions(client, submission, lookup, self.remakes)
        menus = MenuActions(client, submission, lookup)
        self._pressed: dict[tuple[int, int, str], float] = {}
        self._handlers: dict[Action, Handler] = {
            "vary": self.remakes.vary,
            "reroll": self.remakes.reroll,
            "again": self.remakes.again,
            "subtle": self.remakes.vary_composition,
            "strong": self.remakes.vary_composition,
            "larger": self.remakes.larger,
            "finer": self.remakes.finer,
            "pick": self.remakes.pick,
            "edit": forms.edit,
            "template": forms.edit_series,
            "hero": forms.series_from_picture,
            "variants": menus.variants,
            "options": menus.options,
            "choose": menus.choose,
            "info": self._info,
            "more": self._more,
            "delete": self._delete,
            "erase": self._erase,
            "cancel": self._cancel,
            "drop": self._drop,
            "show": self._show,
            "page": self._page,
            "vote": self._vote,
            "submit": self.approvals.submit,
            "approve": self.approvals.approve,
            "reject": self.approvals.reject,
            "approved": self.approvals.page,
        }
        self._forms: dict[Action, Handler] = {
            "edit": forms.submit_edit,
            "template": forms.submit_edited_series,
            "hero": forms.submit_series_from_picture,
            "start": self.starts.submit_form,
            "reject": self.approvals.submit_reject,
        }

    async def press(self, responder: Responder, pressed: CustomId) -> None:
        """Handle a press on a button, or a choice from a select menu, which has the id of a button.

        Raises:
            UserError: the person may not do this, or the picture is gone.
            CascadeError: the service refuses or does not answer.
        """
        if pressed.action in _ONCE and self._is_second(responder.interaction, pressed):
            await responder.acknowledge()
            return
        await self._handlers[pressed.action](responder, pressed)

    async def submit_form(self, responder: Responder, submitted: CustomId) -> None:
        """Submit the request that a form describes.

        Raises:
            UserError: a value is not valid, or a rule forbids the request.
            CascadeError: the service refuses or does not answer.
        """
        await self._forms[submitted.action](responder, submitted)

    async def _info(self, responder: Responder, pressed: CustomId) -> None:
        await responder.defer(private=True)
        await responder.send(await self._lookup.info(pressed.subject, responder))

    async def _more(self, responder: Responder, pressed: CustomId) -> None:
        await responder.defer(private=True)
        await responder.send(
            info_messages.ids(responder.translate, await self._client.job(pressed.subject))
        )

    async def _delete(self, responder: Responder, pressed: CustomId) -> None:
        check_may_remove(responder.interaction)
        await responder.acknowledge()
        job = await self._own_job(responder, pressed.subject)
        if job is None:
            await responder.delete_message()
            return
        if pressed.arg == "all":  # of a comparison
            for one in (job, *await self._compared_with(job)):
                await self._delete_all(one, responder.user)
            await responder.delete_message()
            return
        if job.state == "succeeded" and len(job.images) > 1:
            await responder.edit_message(
                await self._lookup.picture(job, responder, choose_to_delete=True)
            )
            return
        await self._delete_all(job, responder.user)
        await responder.delete_message()

    async def _erase(self, responder: Responder, pressed: CustomId) -> None:
        check_may_remove(responder.interaction)
        await responder.acknowledge()
        job = await self._own_job(responder, pressed.subject)
        if job is None:
            if pressed.arg != "all":
                raise UserError.because("not_your_job")
            await responder.delete_message()
            return
        if pressed.arg != "all":
            for image in job.images:
                if image.index == pressed.index:
                    await self._client.delete_image(image.id, responder.user)
            job = await self._client.job(job.id, responder.user)
            if job.images:
                await responder.edit_message(await self._lookup.picture(job, responder))
                return
        await self._delete_all(job, responder.user)
        await responder.delete_message()

    async def _delete_all(self, job: Job, user: str) -> None:
        """Delete a job's pictures, and its compositions that became none."""
        if job.is_waiting:
            await self._client.cancel(job.id, user)
        for image in job.images:
            await self._client.delete_image(image.id, user)
        for draft in job.compositions:
            if job.image(draft.index) is None:
                await self._client.delete_latent(draft.latent_id, user)

    async def _own_job(self, responder: Responder, job_id: str) -> Job | None:
        """Return the job of a message if the person owns it; None if only the message may go.

        A moderator may remove the message, but the picture stays its owner's. None also means that
        the service no longer has the job.

        Raises:
            UserError: neither the message nor the service names this person as the owner.
        """
        if not is_own(responder.interaction):
            return None
        try:
            return await self._client.job(job_id, responder.user)
        except NotFound:
            if not (names_owner(responder.interaction) or is_moderator(responder.interaction)):
                raise UserError.because("not_your_job") from None
            return None

    async def _cancel(self, responder: Responder, pressed: CustomId) -> None:
        check_may_remove(responder.interaction)
        await responder.acknowledge()
        user: str | None = responder.user
        if not is_own(responder.interaction):
            # An id in a button is no proof that the job belongs to this message.
            target = DeliveryTarget.from_state(
                (await self._client.job(pressed.subject)).client_state
            )
            message = responder.interaction.message
            if target is None or message is None or target.message_id != message.id:
                raise UserError.because("not_your_job")
            user = None
        # The follower gets the event and edits the message.
        job = await self._client.cancel(pressed.subject, user)
        for other in await self._compared_with(job):
            await self._client.cancel(other.id, user)

    async def _compared_with(self, job: Job) -> tuple[Job, ...]:
        """Return the other jobs of the comparison that a job's message shows; mostly none."""
        comparison_id = presentation_of(job.client_state).comparison
        if comparison_id is None:
            return ()
        try:
            jobs = (await self._client.comparison(comparison_id)).jobs
        except NotFound:
            return ()
        return tuple(other for other in jobs if other.id != job.id)

    async def _vote(self, responder: Responder, pressed: CustomId) -> None:
        await responder.defer(private=True)
        pair, _, choice = pressed.arg.partition(".")
        if not pair.isdecimal() or choice not in comparison_messages.CHOICES:
            raise NotFound("there is no such pair")
        vote = await self._client.vote(pressed.subject, int(pair), choice, responder.user)
        await responder.send(comparison_messages.voted(responder.translate, vote, choice))

    async def _drop(self, responder: Responder, pressed: CustomId) -> None:
        await responder.acknowledge()
        job_ids = [pressed.subject]
        if pressed.subject == info_messages.ALL:
            job_ids = [job.id for job in await self._lookup.open_jobs(responder.user)]
        await asyncio.gather(*(self._client.cancel(job_id, responder.user) for job_id in job_ids))
        await responder.edit_message(await self._lookup.queue(responder))

    async def _show(self, responder: Responder, pressed: CustomId) -> None:
        await responder.defer(private=True)
        job = await self._client.job(pressed.subject, responder.user)
        await responder.send(await self._lookup.picture(job, responder))

    async def _page(self, responder: Responder, pressed: CustomId) -> None:
        await responder.acknowledge()
        page = int(pressed.subject) if pressed.subject.isdecimal() else 0
        await responder.edit_message(await self._lookup.gallery_page(responder, page))

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


async def answer_expired(responder: Responder) -> None:
    """Answer a press on a button of another version of the bot."""
    await responder.send(notice(responder.translate("error.expired")))
