"""Between Stages C and B: what the checkers have to say about a composition."""

from __future__ import annotations

from serve.moderation.moderator import Moderator
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.image_store import ImageStore
from serve.storage.records import OpenJob
from serve.storage.retry import RetryingBlobs, RetryingDatabase


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
        self._database = RetryingDatabase(database)
        self._blobs = RetryingBlobs(blobs)

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
        for latent_id in await self._database.images.do(
            ImageStore.discard_latents_without_image, job_id
        ):
            await self._blobs.try_delete(latent_key(latent_id))
