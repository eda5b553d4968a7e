"""Makes the message of a job's outcome: fetches its pictures and fits them to size limits."""

from __future__ import annotations

import asyncio
import ipaddress
from urllib.parse import urlsplit

from bot.jobs.delivery_target import DeliveryTarget
from bot.policy.message_credit import Credit
from bot.service.client import CascadeClient
from bot.service.models import Image, Job
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import error_message, is_fault
from bot.views import comparison_messages, picture_messages
from bot.views.attachments import fitted, numbered, picture_name, unnamed
from bot.views.components import Layout
from bot.views.draft_sheet import draft_sheet
from cascade_core.errors import CascadeError, Gone, Internal, NotFound, NotReady

LINK_S = 7 * 24 * 3600


class OutcomeMessages:
    """Makes the messages that show outcomes.

    Args:
        client: the service's client.
        catalog: the bot's sentences.
    """

    def __init__(self, client: CascadeClient, catalog: Catalog) -> None:
        self._client = client
        self._catalog = catalog

    async def outcome(self, job: Job, target: DeliveryTarget, shrink: int = 0) -> Layout:
        """Return the message of a job that has ended or waits for a choice.

        Args:
            job: a job in such a state.
            target: its message; limits the size of files.
            shrink: see :func:`bot.views.attachments.fitted`.

        Raises:
            CascadeError: the pictures cannot be fetched.
        """
        translate = Translator(self._catalog, target.locale)
        if target.comparison is not None:
            return await self.comparison(job, target.comparison, translate, target, shrink)
        if job.state == "cancelled":
            return picture_messages.ended(
                translate, job, translate("ended.cancelled"), target.credit
            )
        if job.has_drafts_only:
            return await self.drafts(job, translate, target.spoiler, target.credit)
        if job.state != "succeeded":
            error = job.error or Internal("no reason given")
            reason = error_message(error, translate, job.id)
            return picture_messages.ended(
                translate, job, reason, target.credit, is_fault=is_fault(error)
            )
        return await self.pictures(
            job, translate, target.file_limit_bytes, shrink, target.spoiler, target.credit
        )

    async def comparison(
        self,
        job: Job,
        comparison_id: str,
        translate: Translator,
        target: DeliveryTarget,
        shrink: int,
    ) -> Layout:
        """Return the message of the comparison of a job: its pairs, or why it has none.

        Raises:
            NotReady: not all of its jobs have ended.
            CascadeError: the pictures cannot be fetched.
        """
        try:
            found = await self._client.comparison(comparison_id)
        except NotFound:  # it was refused after all
            return picture_messages.ended(translate, job, translate("ended.cancelled"))
        if not found.is_ended:
            raise NotReady("another job of the comparison goes on")
        ids = {pair.index: (pair.left, pair.right) for pair in found.pairs}
        if not ids or any(None in two for two in ids.values()):
            reasons = [
                f"{comparison_messages.name_of(job)}: {self._reason(job, translate)}"
                for job in found.jobs
                if job.state != "succeeded" or not job.images
            ]
            return comparison_messages.incomplete(translate, found, reasons, target.credit)
        named = [
            (f"{side}-{number + 1}", await self._unnamed(image_id))
            for number, two in ids.items()
            for side, image_id in zip(("left", "right"), filter(None, two), strict=True)
        ]
        files = await fitted(named, target.file_limit_bytes, shrink)
        return comparison_messages.pairs(
            translate,
            found,
            {index: files[2 * place : 2 * place + 2] for place, index in enumerate(ids)},
            spoiler=target.spoiler,
            credit=target.credit,
        )

    async def _unnamed(self, image_id: str) -> bytes:
        return await asyncio.to_thread(unnamed, await self._client.image(image_id))

    def _reason(self, job: Job, translate: Translator) -> str:
        if job.state == "cancelled":
            return translate("ended.cancelled")
        if job.state == "succeeded":
            return translate("ended.gone")
        return error_message(job.error or Internal("no reason given"), translate, job.id)

    async def drafts(
        self, job: Job, translate: Translator, spoiler: bool = False, credit: Credit | None = None
    ) -> Layout:
        """Return the sheet of a job's compositions, with a button for each that finishes it.

        The service deletes previews some time after a job's end. What has none is left out; where
        none is left, the message says so.

        Raises:
            CascadeError: the previews cannot be fetched.
        """
        paths = {one.index: one.preview_url for one in job.compositions if one.preview_url}
        found = await asyncio.gather(*map(self._preview, paths.values()))
        previews = {
            index: data for index, data in zip(paths, found, strict=True) if data is not None
        }
        if not previews:
            return picture_messages.ended(translate, job, translate("ended.drafts"), credit)
        files = [
            (f"draft-{number}.webp", await asyncio.to_thread(numbered, data, number))
            for number, data in enumerate(previews.values(), 1)
        ]
        return draft_sheet(translate, job, tuple(previews), files, spoiler, credit)

    async def _preview(self, path: str) -> bytes | None:
        """Return a preview; None if the service no longer has it."""
        try:
            return await self._client.preview(path)
        except (Gone, NotFound):
            return None

    async def pictures(
        self,
        job: Job,
        translate: Translator,
        limit_bytes: int,
        shrink: int = 0,
        spoiler: bool = False,
        credit: Credit | None = None,
        choose_to_delete: bool = False,
    ) -> Layout:
        """Return the message of a job that has succeeded, with its remaining pictures.

        Args:
            job: the job.
            translate: translates into the message's language.
            limit_bytes: size limit of one file.
            shrink: see :func:`bot.views.attachments.fitted`.
            spoiler: hide the pictures until they are clicked.
            credit: the button that the job came from.
            choose_to_delete: show buttons that ask which picture to delete.

        Raises:
            CascadeError: the pictures cannot be fetched.
        """
        try:
            found = await asyncio.gather(*(self._client.image(image.id) for image in job.images))
        except (Gone, NotFound):
            job = await self._client.job(job.id)
            found = await asyncio.gather(*(self._client.image(image.id) for image in job.images))
        if not found:
            return picture_messages.ended(translate, job, translate("ended.gone"), credit)
        named = [
            (file_name(job, image), data) for image, data in zip(job.images, found, strict=True)
        ]
        files = await fitted(named, limit_bytes, shrink)
        are_original = all(file.is_original for file in files)
        return picture_messages.finished(
            translate,
            job,
            files,
            spoiler=spoiler,
            links=[] if are_original else await self.links(job),
            credit=credit,
            choose_to_delete=choose_to_delete,
        )

    async def links(self, job: Job) -> list[str]:
        """Return public links to a job's original files; empty if the service offers none."""
        try:
            found = await asyncio.gather(
                *(self._client.share(image.id, LINK_S) for image in job.images)
            )
        except CascadeError:
            return []
        return [link for link in found if is_public(link)]


def file_name(job: Job, image: Image) -> str:
    """Return the name of a picture's file, without its extension; each of a job has its own."""
    name = picture_name(job.request.prompt_of(image.index), image.seed, image.decoder_seed)
    # The pictures of a series have the same seeds, and may begin with the same words.
    return name if job.request.variants is None else f"{image.index + 1}-{name}"


def is_public(url: str) -> bool:
    """Return True if people on other machines may be able to open a URL."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or "." not in host + ("." if ":" in host else ""):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True
