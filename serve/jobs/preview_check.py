"""Checks each composition after the stage that makes it, if a content checker sees previews."""

from __future__ import annotations

from serve.moderation.moderator import Moderator
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.image_store import ImageStore
from serve.storage.records import OpenJob
from serve.storage.retry import RetryingBlobs, RetryingDatabase


class PreviewCheck:
    """Refuses compositions that a checker objects to.

    Args:
        moderator: asks the checkers.
        shows_previews: clients may see previews of allowed compositions.
        database, blobs: where refused latents are removed from.
    """

    def __init__(
        self,
        moderator: Moderator,
        shows_previews: bool,
        database: RetryingDatabase,
        blobs: RetryingBlobs,
    ) -> None:
        self.shows_previews = shows_previews
        self._moderator = moderator
        self._database = database
        self._blobs = blobs

    @property
    def is_required(self) -> bool:
        """True if a checker sees previews; clients must not see a composition before it."""
        return self._moderator.sees_previews

    async def check(self, job: OpenJob, index: int, preview: bytes) -> None:
        """Have one image's composition, drawn as WebP, checked.

        Raises:
            ContentRefused: a checker said no; names its rule.
            ModerationFailed: a checker failed or took too long.
        """
        await self._moderator.check_preview(preview, job.request_of(index), job.owner)

    async def discard(self, job_id: str) -> None:
        """Delete the latents that a refused job made itself and that became no image."""
        for latent_id in await self._database.images.do(
            ImageStore.discard_latents_without_image, job_id
        ):
            await self._blobs.try_delete(latent_key(latent_id))
