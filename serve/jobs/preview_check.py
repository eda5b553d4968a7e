"""Checks each composition after the stage that makes it, if a content checker sees previews."""

from __future__ import annotations

from dataclasses import asdict, replace

from ulid import ULID

from cascade_core.errors import Cancelled
from serve.moderation.moderator import Moderator
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.image_store import ImageStore
from serve.storage.job_parts.redo import columns_anew
from serve.storage.job_parts.rejection import Rejection
from serve.storage.records import OpenJob
from serve.storage.retry import RetryingBlobs, RetryingDatabase
from serve.telemetry.metrics import RefusalMetrics


class CompositionRejected(Exception):
    """A checker wants another composition in the place of one.

    Attributes:
        rule: of the checker.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(f"the composition is rejected by the rule {rule!r}")
        self.rule = rule


class PreviewCheck:
    """Refuses compositions that a checker objects to, or has others made in their place.

    Args:
        moderator: asks the checkers.
        shows_previews: clients may see previews of allowed compositions.
        max_redos: how often an image is composed anew.
        database, blobs: where refused latents are removed from.
        metrics: counts rejected compositions.
    """

    def __init__(
        self,
        moderator: Moderator,
        shows_previews: bool,
        max_redos: int,
        database: RetryingDatabase,
        blobs: RetryingBlobs,
        metrics: RefusalMetrics,
    ) -> None:
        self.shows_previews = shows_previews
        self._moderator = moderator
        self._max_redos = max_redos
        self._database = database
        self._blobs = blobs
        self._metrics = metrics

    @property
    def is_required(self) -> bool:
        """True if a checker sees previews; clients must not see a composition before it."""
        return self._moderator.sees_previews

    async def check(self, job: OpenJob, index: int, preview: bytes, *, is_composed: bool) -> None:
        """Have one image's composition, drawn as WebP, checked.

        Args:
            job: of the image.
            index: of the image.
            preview: the composition.
            is_composed: other seeds make another composition.

        Raises:
            CompositionRejected: the image is to be composed anew.
            ContentRefused: a checker said no; names its rule.
            ModerationFailed: a checker failed or took too long.
        """
        # One that a client has chosen is not exchanged for one that it has not seen, and one that
        # other images start from is not exchanged while they do.
        is_needed = job.choice is not None or job.images[index].latent_id == job.request.hero_id
        is_free = is_composed and not is_needed
        may_redo = is_free and job.rejections_of(index) < self._max_redos
        request = job.request_of(index)
        rule = await self._moderator.check_preview(preview, request, job.owner, may_redo=may_redo)
        if rule is not None:
            raise CompositionRejected(rule)

    async def reject(self, job: OpenJob, index: int, rule: str) -> OpenJob:
        """Delete the composition of an image and give the image other seeds.

        Returns:
            The job with the image as it is to be composed, and without changes of other images.

        Raises:
            Cancelled: the job has ended.
        """
        image = job.images[index]
        anew = replace(image, **columns_anew(asdict(image), len(job.images), str(ULID())))
        rejection = Rejection(index, rule, image.seed, image.decoder_seed, job.part)
        record = ImageStore.reject_composition
        now = await self._database.images.do(record, image, anew, rejection)
        if now is None:
            raise Cancelled("the job was cancelled")
        self._metrics.rejected(rule)
        await self._blobs.try_delete(latent_key(image.latent_id))
        return job.with_redone(now, rejection)

    async def discard(self, job_id: str, part: str) -> None:
        """Delete the latents of a refused part of a job that became no image.

        See :meth:`serve.storage.image_store.ImageStore.discard_latents_without_image`.
        """
        discard = ImageStore.discard_latents_without_image
        for latent_id in await self._database.images.do(discard, job_id, part):
            await self._blobs.try_delete(latent_key(latent_id))
