"""Looks up jobs and pictures that exist: galleries, queues, and how a picture was made."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from io import BytesIO

import discord

from bot.interactions.responder import Responder
from bot.jobs.delivery_target import presentation_of
from bot.jobs.message_sender import custom_ids_of
from bot.jobs.outcome import OutcomeMessages, file_name
from bot.service.client import CascadeClient
from bot.service.models import Job
from bot.settings import MAX_PAGE
from bot.text.error_messages import UserError
from bot.views import custom_ids, info_messages
from bot.views.attachments import MAX_REQUEST_BYTES, thumbnail
from bot.views.components import Layout
from cascade_core.errors import CascadeError, InvalidRequest, NotFound
from cascade_core.images.png_info_reader import read_png_info
from cascade_core.job_states import OPEN_STATES

_PER_PAGE = 4
_THUMBNAIL_PX = 512
_MAX_UPLOAD_BYTES = 32 * 1024 * 1024
_MAX_IN_QUEUE = 8


class PictureLookup:
    """Finds jobs and pictures, and makes the messages that show them.

    Args:
        client: the service's client.
        outcomes: makes the messages of finished jobs.
    """

    def __init__(self, client: CascadeClient, outcomes: OutcomeMessages) -> None:
        self._client = client
        self._outcomes = outcomes

    async def picture(
        self, job: Job, responder: Responder, *, choose_to_delete: bool = False
    ) -> Layout:
        """Return the message of a job's pictures or drafts, in the language of the person.

        Args:
            job: the job.
            responder: the interaction that asks.
            choose_to_delete: show buttons that ask which picture to delete.

        Raises:
            UserError: the job has no pictures left.
        """
        shown = presentation_of(job.client_state)
        if job.has_drafts_only:
            translate = responder.translate
            return await self._outcomes.drafts(job, translate, shown.spoiler, shown.credit)
        if not job.images:
            raise UserError.because("picture_gone")
        return await self._outcomes.pictures(
            job,
            responder.translate,
            responder.interaction.filesize_limit,
            spoiler=shown.spoiler,
            credit=shown.credit,
            choose_to_delete=choose_to_delete,
        )

    async def info(self, job_id: str, responder: Responder) -> Layout:
        """Return how a job's pictures were made; every viewer of the pictures may know.

        Their owner also gets the original files, as far as they fit, and links to them.

        Raises:
            NotFound: the service does not have the job.
        """
        models = self._client.known_models
        with suppress(CascadeError):
            models = await self._client.models()
        try:
            job = await self._client.job(job_id, responder.user)
        except NotFound:
            job = await self._client.job(job_id)
            return info_messages.info(responder.translate, job, [], [], models)
        files, room_bytes = [], MAX_REQUEST_BYTES
        for image in job.images:
            with suppress(CascadeError):
                data = await self._client.image(image.id)
                if len(data) <= min(responder.interaction.filesize_limit, room_bytes):
                    files.append((f"{file_name(job, image)}.png", data))
                    room_bytes -= len(data)
        links = await self._outcomes.links(job)
        return info_messages.info(
            responder.translate, job, files, links, models, await self._original_s(job)
        )

    async def own_job(self, job_id: str, user: str) -> Job:
        """Return a job of this user.

        Raises:
            UserError: it belongs to another person.
            NotFound: the service does not have the job.
        """
        try:
            return await self._client.job(job_id, user)
        except NotFound:
            await self._client.job(job_id)
            raise UserError.because("not_yours") from None

    async def gallery_page(self, responder: Responder, page: int) -> Layout:
        """Return a page of the person's pictures, newest first; pages count from 0."""
        first = page * _PER_PAGE
        jobs = await self._with_pictures(responder.user, first + _PER_PAGE + 1)
        shown = jobs[first : first + _PER_PAGE]
        pictures = await asyncio.gather(*(self._thumbnail(job) for job in shown))
        more = len(jobs) > first + _PER_PAGE
        return info_messages.gallery_page(responder.translate, page, shown, pictures, more)

    async def queue(self, responder: Responder) -> Layout:
        """Return the person's open jobs."""
        found = await self.open_jobs(responder.user)
        status = None
        with suppress(CascadeError):
            status = await self._client.status()
        shown = found[:_MAX_IN_QUEUE]
        return info_messages.queue(responder.translate, shown, len(found) - len(shown), status)

    async def open_jobs(self, user: str) -> list[Job]:
        """Return all jobs of a user that are queued or running, the oldest first."""
        found: dict[str, Job] = {}
        for state in OPEN_STATES:
            cursor = None
            while True:
                page = await self._client.jobs(
                    user=user, state=state, cursor=cursor, limit=MAX_PAGE
                )
                found |= {job.id: job for job in page.jobs}
                cursor = page.next_cursor
                if cursor is None:
                    break
        return [found[job_id] for job_id in sorted(found)]

    async def find(self, given: str, user: str) -> Job:
        """Return a user's job by its own id or by the id of one of its pictures.

        Raises:
            NotFound: the user has no job or picture with this id.
        """
        wanted = given.strip()
        try:
            return await self._client.job(wanted, user)
        except NotFound:
            return await self._client.job(await self._client.job_of_image(wanted, user), user)

    async def find_in_message(
        self, message: discord.Message, responder: Responder
    ) -> tuple[Job, int | None]:
        """Return the job that a message shows, of any user, and the picture's index if known.

        The bot's own messages name the job in their buttons. Other messages name the picture in
        the metadata of an attached PNG file.

        Raises:
            UserError: the message shows no picture of this bot.
            NotFound: the service does not have the picture.
        """
        me = responder.interaction.client.user
        is_ours = me is not None and message.author.id == me.id
        for text in custom_ids_of(message.components) if is_ours else ():
            known = custom_ids.parse(text)
            if known is not None and known.action in ("vary", "choose", "info"):
                return await self._client.job(known.subject), None
        for attachment in message.attachments:
            image_id = await _image_id_in(attachment)
            if image_id is not None:
                job = await self._client.job(await self._client.job_of_image(image_id))
                return job, next((i.index for i in job.images if i.id == image_id), None)
        raise UserError.because("no_picture_here")

    async def _with_pictures(self, user: str, count: int) -> list[Job]:
        found: list[Job] = []
        cursor = None
        while len(found) < count:
            page = await self._client.jobs(
                user=user, state="succeeded", cursor=cursor, limit=min(count, MAX_PAGE)
            )
            found += [job for job in page.jobs if job.images]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found[:count]

    async def _original_s(self, job: Job) -> float | None:
        """Return the compute seconds of the picture that a job varies; None where unknown."""
        of = presentation_of(job.client_state).of
        if of is not None:
            with suppress(CascadeError):
                original = await self._client.job(of[0])
                return original.cost.total_s / max(1, original.request.n)
        return None

    async def _thumbnail(self, job: Job) -> tuple[str, bytes]:
        data = await self._client.image(job.images[0].id)
        return f"{job.id}.webp", await asyncio.to_thread(thumbnail, data, _THUMBNAIL_PX)


async def _image_id_in(attachment: discord.Attachment) -> str | None:
    """Return the picture's id from a PNG file's metadata; None if the service did not make it."""
    if attachment.size > _MAX_UPLOAD_BYTES or not attachment.filename.lower().endswith(".png"):
        return None
    try:
        file = BytesIO(await attachment.read())
        info = await asyncio.to_thread(read_png_info, file)
    except InvalidRequest:
        return None
    image_id = (info or {}).get("image_id")
    return image_id if isinstance(image_id, str) else None
