"""Between Stages C and B: what the checkers have to say about a composition."""

from __future__ import annotations

from sqlalchemy import select, update

from serve.moderation.moderator import Moderator
from serve.storage.blobs.blob_store import BlobStore, latent_key
from serve.storage.database import Database
from serve.storage.records import OpenJob, utc_now
from serve.storage.retry import PatientBlobs, PatientDatabase
from serve.storage.schema.tables import images, latents


class Gate:
    """Lets compositions pass to Stage B that no checker has anything against.

    Args:
        moderator: asks the checkers.
        shows_previews: clients may see what has passed.
        database, blobs: where refused latents are removed from.
    """

    def __init__(
        self,
        moderator: Moderator,
        shows_previews: bool,
        database: Database,
        blobs: BlobStore,
    ) -> None:
        self.shows_previews = shows_previews
        self._moderator = moderator
        self._database = PatientDatabase(database)
        self._blobs = PatientBlobs(blobs)

    @property
    def is_watched(self) -> bool:
        """Tell whether checkers look at compositions: until then, nobody else may see them."""
        return self._moderator.sees_previews

    async def check(self, job: OpenJob, index: int, preview: bytes) -> None:
        """Have one image's composition, drawn as WebP, checked; for when it is watched.

        Raises:
            ContentRefused: a checker said no; names its rule.
            ModerationFailed: a checker failed or took too long.
        """
        await self._moderator.check_preview(preview, job.request.for_image(index), job.owner)

    async def wipe(self, job_id: str) -> None:
        """Remove what a refused job leaves: its own latents that became no picture."""
        for latent_id in await self._database.do(_mark_deleted, job_id):
            await self._blobs.try_delete(latent_key(latent_id))


def _mark_deleted(database: Database, job_id: str) -> list[str]:
    unmade = select(images.c.latent_id).where(
        images.c.job_id == job_id, images.c.ready_at.is_(None)
    )
    own = latents.c.job_id == job_id, latents.c.id.in_(unmade)
    with database.writing() as connection:
        ids = list(connection.execute(select(latents.c.id).where(*own)).scalars())
        connection.execute(update(latents).where(*own).values(deleted_at=utc_now()))
    return ids
