"""Opens the private menus of a picture's message; :mod:`bot.interactions.remakes` does the rest."""

from __future__ import annotations

from bot.interactions.lookup import PictureLookup
from bot.interactions.pressed_message import check_owner, visibility
from bot.interactions.responder import Responder
from bot.interactions.submission import Submission
from bot.policy.job_request import find_image
from bot.policy.steering import FINER_STEPS, larger_size, may_be_finer
from bot.service.client import CascadeClient
from bot.service.models import Image, Job
from bot.views import picture_menus
from bot.views.custom_ids import CustomId, Visibility
from bot.views.picture_menus import Offers
from cascade_core.errors import NotFound
from cascade_core.operations.registry import DECODE, SERIES, VARY


class MenuActions:
    """The handlers that answer with a menu.

    Args:
        client: the service's client.
        submission: knows the service's model.
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
        offers = await self._offers(job, find_image(job, None), responder)
        seen = visibility(responder.interaction.message)
        await responder.send(picture_menus.options(responder.translate, job, seen, offers))

    async def choose(self, responder: Responder, pressed: CustomId) -> None:
        """Open the menu of one of several pictures, which a person chose by its number.

        Raises:
            UserError: the picture is another person's or gone.
        """
        check_owner(responder.interaction)
        await responder.defer(private=True)
        job = await self._lookup.own_job(pressed.subject, responder.user)
        image = find_image(job, pressed.index)
        seen: Visibility = visibility(responder.interaction.message)
        if pressed.is_in_menu:
            seen = "private" if pressed.is_private else "public"
        offers = await self._offers(job, image, responder)
        await responder.send(picture_menus.picture(responder.translate, job, image, seen, offers))

    async def _offers(self, job: Job, image: Image, responder: Responder) -> Offers:
        """Return what the model and the server can do with a picture."""
        rules = await self._submission.guild_rules.get(responder.interaction.guild_id)
        model = await self._submission.model(job.request.model)
        is_finer_offered = model.offers(DECODE.name) and may_be_finer(job)
        return Offers(
            variants=model.offers(VARY.name),
            larger=larger_size(image, model),
            finer_steps=FINER_STEPS if is_finer_offered else None,
            series=model.offers(SERIES.name),
            approval=rules.approval_channel != 0,
        )
