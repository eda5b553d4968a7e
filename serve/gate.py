"""Between Stages C and B: what the checkers have to say about a composition."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy import select, update

from cascade_core.errors import NotReady
from serve.db import Database
from serve.moderation import Moderator
from serve.records import OpenJob, utc_now
from serve.replica import Message
from serve.stage_client import StageClient
from serve.store import BlobStore, latent_key
from serve.tables import images, latents

logger = logging.getLogger(__name__)


class Gate:
    """Lets compositions pass to Stage B that no checker has anything against.

    Args:
        moderator: asks the checkers.
        previewer: draws a Stage C latent small.
        shows_previews: clients may see what has passed.
        database, blobs: where refused latents are removed from.
    """

    def __init__(
        self,
        moderator: Moderator,
        previewer: StageClient,
        shows_previews: bool,
        database: Database,
        blobs: BlobStore,
    ) -> None:
        self._shows_previews = shows_previews
        self._moderator = moderator
        self._previewer = previewer
        self._database = database
        self._blobs = blobs

    @property
    def is_watched(self) -> bool:
        """Tell whether checkers look at compositions: until then, nobody else may see them."""
        return self._moderator.sees_previews

    async def check(self, job: OpenJob, index: int, latent: bytes) -> bytes | None:
        """Have one image's composition checked; for when it is watched.

        Returns:
            What may be shown of it, as WebP; None if previews are turned off.

        Raises:
            ContentRefused: a checker said no; names its rule.
            ModerationFailed: a checker failed or took too long.
            CascadeError: the latent could not be drawn.
        """
        preview = (await self._previewer.call(latent, on_message=_ignore)).data
        await self._moderator.check_preview(preview, job.request.for_image(index), job.owner)
        return preview if self._shows_previews else None

    async def wipe(self, job_id: str) -> None:
        """Remove what a refused job leaves: its own latents that became no picture."""
        for latent_id in await asyncio.to_thread(self._mark_deleted, job_id):
            try:
                await self._blobs.delete(latent_key(latent_id))
            except NotReady:
                logger.warning("latent %s is deleted in the next round of upkeep", latent_id)

    def _mark_deleted(self, job_id: str) -> list[str]:
        unmade = select(images.c.latent_id).where(
            images.c.job_id == job_id, images.c.ready_at.is_(None)
        )
        own = latents.c.job_id == job_id, latents.c.id.in_(unmade)
        with self._database.writing() as connection:
            ids = list(connection.execute(select(latents.c.id).where(*own)).scalars())
            connection.execute(update(latents).where(*own).values(deleted_at=utc_now()))
        return ids


async def _ignore(_message: Message) -> None:
    """Drawing a latent reports no progress."""
