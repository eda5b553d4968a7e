"""The forms about a job's pictures: *Edit*, of pictures and of a series, and *Series…*."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bot.interactions.lookup import PictureLookup
from bot.interactions.pressed_message import check_owner, components
from bot.interactions.remakes import Remakes
from bot.interactions.responder import FORM_S, Responder
from bot.interactions.submission import Submission
from bot.jobs.delivery_target import presentation_of
from bot.policy import job_request, series, steering
from bot.policy.job_request import EditedValues, JobRequest
from bot.policy.prompt_parameters import check_parameters
from bot.policy.strength import strength_name
from bot.service.client import CascadeClient
from bot.service.models import Job
from bot.views.custom_ids import CustomId
from bot.views.modals import EditForm, SeriesForm, values_from
from bot.views.picture_messages import shown_in
from cascade_core.errors import NotReady
from cascade_core.model_defaults import DEFAULT_STRENGTH
from cascade_core.operations.registry import SERIES


class FormActions:
    """Opens forms, and submits what people enter in them.

    The methods that open a form raise NotReady if the service does not answer in time: a form must
    open within three seconds. Those that submit one raise UserError if a value is not valid.

    Args:
        client: the service's client.
        submission: knows the service's model.
        lookup: finds jobs and pictures.
        remakes: submits the requests.
    """

    def __init__(
        self,
        client: CascadeClient,
        submission: Submission,
        lookup: PictureLookup,
        remakes: Remakes,
    ) -> None:
        self._client = client
        self._submission = submission
        self._lookup = lookup
        self._remakes = remakes

    async def edit(self, responder: Responder, pressed: CustomId) -> None:
        """Open the form for pictures, filled in from their message."""
        check_owner(responder.interaction)
        shown = shown_in(components(responder.interaction.message))
        values = replace(shown.values, keep=pressed.arg == "keep")
        if shown.is_cut:
            values = await self._uncut(values, pressed.subject)
        form = EditForm(
            responder.translate, pressed.subject, values, shown.indices, not shown.is_variation
        )
        await responder.open_form(form)

    async def submit_edit(self, responder: Responder, submitted: CustomId) -> None:
        """Submit edited pictures."""
        values = values_from(responder.interaction.data or {}, submitted.arg)
        check_parameters(responder.translate, values.prompt, values.negative_prompt)

        async def make(job: Job, made: JobRequest) -> JobRequest:
            edit = steering.remix if values.keep else job_request.edit
            return edit(job, values, made)

        await self._remakes.submit(responder, submitted, make)

    async def edit_series(self, responder: Responder, pressed: CustomId) -> None:
        """Open the form for a whole series: its pictures have their own prompts, but one template.

        Raises:
            UserError: the series is another person's.
        """
        check_owner(responder.interaction)
        job = await self._own_job(pressed.subject, responder.user)
        request = job.request
        values = EditedValues(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seed=str(request.seed),
            variants=series.format_variants(request.prompt, request.variants or ()),
            strength="" if request.strength is None else f"{request.strength:g}",
        )
        custom_id = CustomId("template", job.id, values.seed)
        await responder.open_form(
            SeriesForm(responder.translate, "modal.template_title", custom_id, values)
        )

    async def submit_edited_series(self, responder: Responder, submitted: CustomId) -> None:
        """Submit an edited series."""
        values = values_from(responder.interaction.data or {}, submitted.arg)
        typed = series.typed_request(responder.translate, values)

        async def make(job: Job, made: JobRequest) -> JobRequest:
            of = presentation_of(job.client_state).of
            return series.edit(job, of, values, typed, made)

        await self._remakes.submit(responder, submitted, make)

    async def series_from_picture(self, responder: Responder, pressed: CustomId) -> None:
        """Open the form for a series that keeps the composition of one of a job's pictures.

        Raises:
            UserError: the pictures are another person's or gone.
        """
        job = await self._own_job(pressed.subject, responder.user)
        job_request.find_image(job, None)
        values = EditedValues(
            prompt=job.request.prompt,
            negative_prompt=job.request.negative_prompt,
            strength=strength_name(responder.translate, DEFAULT_STRENGTH),
        )
        indices = [image.index for image in job.images]
        form = SeriesForm(responder.translate, "modal.hero_title", pressed, values, indices)
        await responder.open_form(form)

    async def submit_series_from_picture(self, responder: Responder, submitted: CustomId) -> None:
        """Submit a series that keeps the composition of a picture."""
        values = values_from(responder.interaction.data or {}, "")
        typed = series.typed_request(responder.translate, values)

        async def make(job: Job, made: JobRequest) -> JobRequest:
            await self._submission.check_offers(SERIES.name, "no_series")
            return series.from_picture(job, values, typed, made)

        await self._remakes.submit(responder, submitted, make)

    async def _own_job(self, job_id: str, user: str) -> Job:
        """Return a job of the person in time for a form.

        Raises:
            UserError: it belongs to another person.
            NotReady: the service does not answer in time.
        """
        try:
            async with asyncio.timeout(FORM_S):
                return await self._lookup.own_job(job_id, user)
        except TimeoutError as error:
            raise NotReady("the service did not answer in time") from error

    async def _uncut(self, values: EditedValues, job_id: str) -> EditedValues:
        """Return values with the job's full prompts.

        Raises:
            NotReady: the service does not answer in time.
        """
        try:
            async with asyncio.timeout(FORM_S):
                request = (await self._client.job(job_id)).request
        except TimeoutError as error:
            raise NotReady("the service did not answer in time") from error
        return replace(values, prompt=request.prompt, negative_prompt=request.negative_prompt)
