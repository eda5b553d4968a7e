"""Submits the jobs that buttons make from an earlier job: one handler for each button."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import discord

from bot.interactions.lookup import PictureLookup
from bot.interactions.pressed_message import check_owner, pressed_template, template
from bot.interactions.responder import Responder
from bot.interactions.submission import Submission
from bot.jobs.delivery_target import presentation_of
from bot.policy import job_request, steering
from bot.policy.job_request import JobRequest, find_image
from bot.policy.user_defaults import UserDefaults
from bot.service.models import Job
from bot.views.custom_ids import CustomId
from cascade_core.model_defaults import StrengthWord

MakeFrom = Callable[[Job, JobRequest], Awaitable[JobRequest]]
"""Makes a request from a job; the given request is as private and as hidden as its message."""


class Remakes:
    """The handlers of the buttons that make a job at once.

    All raise UserError if the person may not do this, the picture is gone or a rule forbids the
    request, and CascadeError if the service refuses or does not answer.

    Args:
        submission: submits requests.
        lookup: finds jobs and pictures.
    """

    def __init__(self, submission: Submission, lookup: PictureLookup) -> None:
        self._submission = submission
        self._lookup = lookup

    async def submit(self, responder: Responder, pressed: CustomId, make_from: MakeFrom) -> None:
        """Submit a request that is made from the person's job that a button or form names."""
        check_owner(responder.interaction)

        async def make(defaults: UserDefaults) -> JobRequest:
            job = await self._lookup.own_job(pressed.subject, responder.user)
            made = pressed_template(responder.interaction, pressed, job, defaults)
            return await make_from(job, made)

        await self._submission.submit(responder, make)

    async def vary(self, responder: Responder, pressed: CustomId) -> None:
        """Submit new details of a picture."""

        async def make(job: Job, made: JobRequest) -> JobRequest:
            return job_request.vary(job, find_image(job, pressed.index).index, made)

        await self.submit(responder, pressed, make)

    async def vary_in_message(self, responder: Responder, message: discord.Message) -> None:
        """Submit new details of the person's own picture in a message of any author."""

        async def make(defaults: UserDefaults) -> JobRequest:
            shown, index = await self._lookup.find_in_message(message, responder)
            job = await self._lookup.own_job(shown.id, responder.user)
            image = find_image(job, index)
            return job_request.vary(job, image.index, template(message, defaults))

        await self._submission.submit(responder, make)

    async def vary_composition(self, responder: Responder, pressed: CustomId) -> None:
        """Submit a variation of a picture's composition; the action is its strength."""

        async def make(job: Job, made: JobRequest) -> JobRequest:
            strength: StrengthWord = "strong" if pressed.action == "strong" else "subtle"
            return steering.vary_composition(job, pressed.index, strength, made)

        await self.submit(responder, pressed, make)

    async def larger(self, responder: Responder, pressed: CustomId) -> None:
        """Submit the same picture, half as large again per side."""

        async def make(job: Job, made: JobRequest) -> JobRequest:
            model = await self._submission.model(job.request.model)
            return steering.larger(job, pressed.index, model, made)

        await self.submit(responder, pressed, make)

    async def finer(self, responder: Responder, pressed: CustomId) -> None:
        """Submit the same picture with more steps of details."""

        async def make(job: Job, made: JobRequest) -> JobRequest:
            return steering.finer(job, pressed.index, made)

        await self.submit(responder, pressed, make)

    async def pick(self, responder: Responder, pressed: CustomId) -> None:
        """Submit the picture of one of a job's drafts."""

        async def make(job: Job, made: JobRequest) -> JobRequest:
            return steering.pick(job, pressed.index, made)

        await self.submit(responder, pressed, make)

    async def reroll(self, responder: Responder, pressed: CustomId) -> None:
        """Submit a job's request with another seed."""

        async def make(job: Job, made: JobRequest) -> JobRequest:
            return job_request.reroll(job, presentation_of(job.client_state).of, made)

        await self.submit(responder, pressed, make)

    async def again(self, responder: Responder, pressed: CustomId) -> None:
        """Submit a job's request again."""

        async def make(job: Job, made: JobRequest) -> JobRequest:
            shown = presentation_of(job.client_state)  # the message has no pictures
            return job_request.again(job, shown.of, replace(made, spoiler=shown.spoiler))

        await self.submit(responder, pressed, make)
