"""The message menu *Start from this picture*, for messages of any author, and its form."""

from __future__ import annotations

import asyncio

import discord

from bot.interactions.attachments import check_picture, is_picture
from bot.interactions.lookup import PictureLookup
from bot.interactions.pressed_message import components, link_to, visibility
from bot.interactions.responder import FORM_S, Responder
from bot.interactions.submission import Submission
from bot.policy import steering
from bot.policy.job_request import JobRequest
from bot.policy.prompt_parameters import check_parameters
from bot.policy.start_message import StartMessage, StartMessageStore
from bot.policy.strength import parse_strength
from bot.policy.user_defaults import UserDefaults
from bot.service.client import CascadeClient
from bot.text.error_messages import UserError
from bot.views.custom_ids import CustomId
from bot.views.modals import StartForm, values_from
from bot.views.picture_messages import has_spoiler, shown_in
from cascade_core.errors import NotReady


class StartActions:
    """Opens the form for a message's picture, and submits what it says.

    Args:
        client: the service's client.
        submission: submits requests.
        lookup: finds jobs and pictures.
    """

    def __init__(
        self, client: CascadeClient, submission: Submission, lookup: PictureLookup
    ) -> None:
        self._submission = submission
        self._lookup = lookup
        self._noted = StartMessageStore(client)

    async def open_form(self, responder: Responder, message: discord.Message) -> None:
        """Open the form for the picture in a message of any author.

        Raises:
            UserError: the message has no picture that the person can start from.
            NotReady: the service does not answer in time: a form must open within three seconds.
        """
        found = start_message(message, responder)
        try:
            async with asyncio.timeout(FORM_S):
                await self._submission.check_starts(is_upload=not found.job_id)
                await self._noted.note(responder.user, found)
        except TimeoutError as error:
            raise NotReady("the service did not answer in time") from error
        await responder.open_form(StartForm(responder.translate, found.id, len(found.pictures)))

    async def submit_form(self, responder: Responder, submitted: CustomId) -> None:
        """Submit the request that the form describes.

        Raises:
            UserError: a value is not valid, the picture is gone or another person's, or a rule
                forbids the request.
            CascadeError: the service refuses or does not answer.
        """
        values = values_from(responder.interaction.data or {}, "")
        check_parameters(responder.translate, values.prompt)
        strength = parse_strength(responder.translate, values.strength)

        async def make(defaults: UserDefaults) -> JobRequest:
            message = await self._noted.find(responder.user, submitted.subject)
            picture, job = message.picture(values.which), None
            if message.job_id:
                job = await self._lookup.own_job(message.job_id, responder.user)
            model = job.request.model if job else None
            await self._submission.check_starts(is_upload=job is None, model=model)
            template = JobRequest(
                prompt=values.prompt,
                negative_prompt=defaults.negative,
                strength=strength,
                source=message.link,
                private=defaults.private or message.private,
                spoiler=message.spoiler,
                preview=defaults.preview,
            )
            return steering.start(picture, job, template)

        await self._submission.submit(responder, make)


def start_message(message: discord.Message, responder: Responder) -> StartMessage:
    """Return what a request that starts from a message's picture needs of the message.

    The bot's own messages name the job of their pictures in their buttons.

    Raises:
        UserError: the message has no picture, one that the service does not take, or one of
            another person.
    """
    job_id, pictures = "", tuple(a.url for a in message.attachments if is_picture(a))
    me = responder.interaction.client.user
    if me is not None and message.author.id == me.id:
        metadata = message.interaction_metadata
        if metadata is not None and metadata.user.id != responder.user_id:
            raise UserError.because("not_yours")
        shown = shown_in(components(message))
        job_id, pictures = shown.job_id, tuple(map(str, shown.indices))
    else:
        for attachment in message.attachments:
            if is_picture(attachment) or len(message.attachments) == 1:
                check_picture(attachment)
    if not pictures:
        raise UserError.because("no_start_here")
    hides = has_spoiler(components(message)) or any(a.is_spoiler() for a in message.attachments)
    return StartMessage(
        id=str(message.id),
        job_id=job_id,
        pictures=pictures,
        link=link_to(message),
        private=visibility(message) == "private",
        spoiler=hides,
    )
