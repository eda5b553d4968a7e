"""Handles *Vary…* and *More…* under a picture, their menus, and the numbers under drafts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bot.interactions.lookup import PictureLookup
from bot.interactions.pressed_message import check_owner, pressed_template, visibility
from bot.interactions.responder import Responder
from bot.interactions.submission import Submission
from bot.policy import steering
from bot.policy.job_request import JobRequest, find_image
from bot.policy.steering import FINER_STEPS, larger_size, may_be_finer
from bot.policy.user_defaults import UserDefaults
from bot.service.client import CascadeClient
from bot.service.models import Job
from bot.views import picture_menus
from bot.views.custom_ids import CustomId
from cascade_core.errors import NotFound
from cascade_core.model_defaults import StrengthWord
from cascade_core.operations.registry import DECODE, VARY


class MenuActions:
    """The handlers of the menus' buttons; each answers privately or submits a job.

    Args:
        client: the service's client.
        submission: submits requests.
        lookup: finds jobs and pictures.
    """

    def __init__(
        self, client: CascadeClient, submission: Submission, lookup: PictureLookup
    ) -> None:
        self._client = client
        self._submission = submission
        self._lookup = lookup

    async def variants(self, responder: Responder, pressed: CustomId) -> None:
        """Open the menu of *Vary…*.

        Raises:
            UserError: the picture is another person's or gone, or the model cannot vary.
        """
        check_owner(responder.interaction)
        await responder.defer(private=True)
        job = await self._lookup.own_job(pressed.subject, responder.user)
        find_image(job, None)
        await self._submission.check_offers(VARY.name, "no_variants")
        seen = visibility(responder.interaction.message)
        await responder.send(picture_menus.variants(responder.translate, job, seen))

    async def options(self, responder: Responder, pressed: CustomId) -> None:
        """Open the menu of *More…*; another person reads how the picture was made.

        Raises:
            UserError: the picture is gone.
        """
        await responder.defer(private=True)
        try:
            job = await self._client.job(pressed.subject, responder.user)
        except NotFound:
            await responder.send(await self._lookup.info(pressed.subject, responder))
            return
        model = await self._submission.model()
        is_finer_offered = model.offers(DECODE.name) and may_be_finer(job)
        layout = picture_menus.options(
            responder.translate,
            job,
            visibility(responder.interaction.message),
            larger_size(find_image(job, None), model),
            FINER_STEPS if is_finer_offered else None,
        )
        await responder.send(layout)

    async def vary(self, responder: Responder, pressed: CustomId) -> None:
        """Submit a variation of the picture's composition; the action is its strength."""

        async def make(job: Job, template: JobRequest) -> JobRequest:
            strength: StrengthWord = "strong" if pressed.action == "strong" else "subtle"
            return steering.vary_composition(job, pressed.index, strength, template)

        await self._submit(responder, pressed, make)

    async def larger(self, responder: Responder, pressed: CustomId) -> None:
        """Submit the same picture, half as large again per side."""

        async def make(job: Job, template: JobRequest) -> JobRequest:
            model = await self._submission.model()
            return steering.larger(job, pressed.index, model, template)

        await self._submit(responder, pressed, make)

    async def finer(self, responder: Responder, pressed: CustomId) -> None:
        """Submit the same picture with more steps of details."""

        async def make(job: Job, template: JobRequest) -> JobRequest:
            return steering.finer(job, pressed.index, template)

        await self._submit(responder, pressed, make)

    async def pick(self, responder: Responder, pressed: CustomId) -> None:
        """Submit the picture of one of a job's drafts."""
        check_owner(responder.interaction)

        async def make(job: Job, template: JobRequest) -> JobRequest:
            return steering.pick(job, pressed.index, template)

        await self._submit(responder, pressed, make)

    async def _submit(
        self,
        responder: Responder,
        pressed: CustomId,
        make_from: Callable[[Job, JobRequest], Awaitable[JobRequest]],
    ) -> None:
        async def make(defaults: UserDefaults) -> JobRequest:
            job = await self._lookup.own_job(pressed.subject, responder.user)
            template = pressed_template(responder.interaction, pressed, job, defaults)
            return await make_from(job, template)

        await self._submission.submit(responder, make)
