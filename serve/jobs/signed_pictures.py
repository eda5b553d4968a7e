"""Signs the pictures of jobs before they are stored, each with what it was made from."""

from __future__ import annotations

import asyncio

from cascade_core.errors import Gone
from serve.jobs.dispatch.stage_client import StageResult
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.statements import (
    Absence,
    ModelPassport,
    Origin,
    PictureFile,
)
from serve.provenance.watermarks import watermark_of
from serve.served_models import Models
from serve.storage.blobs import blob_keys
from serve.storage.image_store import ImageStore
from serve.storage.records import OpenJob
from serve.storage.retry import OnWait, RetryingBlobs, RetryingDatabase
from serve.telemetry.tracing import span


class SignedPictures:
    """Signs the pictures of jobs.

    Args:
        models: that make the pictures.
        database: knows what they were made from.
        blobs: has the files of those.
        signer: None: files stay as they are.
    """

    def __init__(
        self,
        models: Models,
        database: RetryingDatabase,
        blobs: RetryingBlobs,
        signer: PictureSigner | None,
    ) -> None:
        self._models = models
        self._database = database
        self._blobs = blobs
        self._signer = signer

    async def signed(self, job: OpenJob, index: int, result: StageResult, on_wait: OnWait) -> bytes:
        """Return the file of a picture as it is to be stored.

        Raises:
            ProvenanceFailed: it could not be signed.
        """
        if self._signer is None:
            return result.data
        checkpoint = self._models.of(job.request).checkpoint
        names = checkpoint.id, checkpoint.revision, checkpoint.fingerprint, checkpoint.licence
        source = await self._source(job, index, on_wait)
        watermark = watermark_of(result.watermark, job.images[index].id)
        kind = job.request.operation.image_kind
        origin = Origin(ModelPassport(*names), kind, source, watermark)
        picture = PictureFile(result.data, job.request.format)
        with span("sign a picture", image=index):
            return await asyncio.to_thread(self._signer.sign_new, picture, origin)

    async def _source(
        self, job: OpenJob, index: int, on_wait: OnWait
    ) -> PictureFile | Absence | None:
        """Return the picture that an image was made from, or why it cannot be shown."""
        request = job.request
        if request.source_latent_id(index) is None:
            return "upload" if request.upload_id is not None else None
        own, hero_id = job.images[index], request.hero_id
        source_id = own.source_image_id if hero_id is None else job.images[0].id
        if source_id is None:  # a composition that became no picture
            return "not_made_yet"
        found = await self._database.images.do(ImageStore.get, source_id)
        if found is None:
            return "not_made_yet"
        if found.deleted_at is not None:
            return "deleted"
        key = blob_keys.image_key(found.id, found.format)
        try:
            data = await self._blobs.get_known(key, "the source of this image", on_wait)
        except Gone:
            return "unreadable"
        return PictureFile(data, found.format)
