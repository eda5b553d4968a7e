"""The message of a job's outcome, with its pictures fetched and made to fit."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

from bot.address import Address
from bot.client import CascadeClient
from bot.files import fitted
from bot.records import Job
from bot.replies import sentence
from bot.texts import Texts, Voice
from bot.ui import layouts
from bot.ui.parts import Layout
from cascade_core.errors import CascadeError, Gone, Internal, NotFound

LINK_S = 7 * 24 * 3600


class Results:
    """Makes the messages that show outcomes.

    Args:
        client: of the service.
        texts: what they say.
    """

    def __init__(self, client: CascadeClient, texts: Texts) -> None:
        self._client = client
        self._texts = texts

    async def layout(self, job: Job, address: Address, shrink: int = 0) -> Layout:
        """Return the message of a job that has ended; files fit its address."""
        voice = Voice(self._texts, address.locale)
        if job.state == "cancelled":
            return layouts.ended(voice, job, voice("ended.cancelled"))
        if job.state != "succeeded":
            reason = sentence(job.error or Internal("no reason given"), voice, job.id)
            return layouts.ended(voice, job, reason)
        return await self.pictures(
            job, voice, address.file_limit_bytes, shrink, address.spoiler, address.of
        )

    async def pictures(
        self,
        job: Job,
        voice: Voice,
        limit_bytes: int,
        shrink: int = 0,
        spoiler: bool = False,
        of: tuple[str, int] | None = None,
        choose_to_delete: bool = False,
    ) -> Layout:
        """Return the message of a job that has succeeded, with what is left of its pictures.

        Args:
            job: whose pictures.
            voice: the language.
            limit_bytes: of one file.
            shrink: see :func:`bot.files.fitted`.
            spoiler: hide them until somebody looks.
            of: the picture that this one varies, as job id and index.
            choose_to_delete: with buttons that ask which one.
        """
        try:
            found = await asyncio.gather(*(self._client.image(image.id) for image in job.images))
        except (Gone, NotFound):
            job = await self._client.job(job.id)
            found = await asyncio.gather(*(self._client.image(image.id) for image in job.images))
        if not found:
            return layouts.ended(voice, job, voice("ended.gone"))
        named = [
            (f"{job.id}-{image.index}", data) for image, data in zip(job.images, found, strict=True)
        ]
        files = await fitted(named, limit_bytes, shrink)
        are_original = all(file.is_original for file in files)
        return layouts.finished(
            voice,
            job,
            files,
            spoiler=spoiler,
            links=[] if are_original else await self.links(job),
            original_s=await self._original_s(of),
            choose_to_delete=choose_to_delete,
        )

    async def links(self, job: Job) -> list[str]:
        """Return links to a job's original files that people can open; none if there are none."""
        try:
            found = await asyncio.gather(
                *(self._client.share(image.id, LINK_S) for image in job.images)
            )
        except CascadeError:
            return []
        return [link for link in found if is_public(link)]

    async def _original_s(self, of: tuple[str, int] | None) -> float | None:
        if of is not None:
            with suppress(CascadeError):
                original = await self._client.job(of[0])
                return original.cost.total_s / max(1, original.request.n)
        return None


def is_public(url: str) -> bool:
    """Tell whether an address might be opened from elsewhere than this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or "." not in host + ("." if ":" in host else ""):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True
