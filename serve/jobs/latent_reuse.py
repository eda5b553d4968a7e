"""Reuses stored latents for equal requests, and excludes latents whose file is lost or damaged."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

from cascade_core.errors import NotFound, WireError
from cascade_core.families.spec import StageSpec
from cascade_core.request import GenerationRequest
from serve.served_models import Models
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import LatentRow, OpenJob
from serve.storage.retry import try_once

logger = logging.getLogger(__name__)


class LatentReuse:
    """Finds stored latents that equal the ones a stage would compute.

    Args:
        models: whose latents are stored.
        database, blobs: the stores of the latents.
        is_on: False: no latent is reused.
    """

    def __init__(
        self, models: Models, database: Database, blobs: BlobStore, *, is_on: bool
    ) -> None:
        self._models = models
        self._database = database
        self._blobs = blobs
        self._is_on = is_on

    async def find(self, request: GenerationRequest, job: OpenJob) -> bytes | None:
        """Return the wire form of an equal latent for a request of one image; None without one.

        A job of a comparison gets none. Another one also gets the warnings of the job that made the
        latent. The search only saves
        work of the stage, so the answer is None if a store does not answer.
        """
        model = self._models.of(request)
        kept = model.family.kept
        if not self._is_on or kept is None:
            return None
        search = self._search(kept, model.checkpoint.fingerprint, request, job)
        return await try_once(search, "a search for an equal latent")

    async def _search(
        self, stage: StageSpec, fingerprint: str, request: GenerationRequest, job: OpenJob
    ) -> bytes | None:
        look_up = partial(self._database.images.find_equal_latent, fingerprint, request, job.owner)
        while (row := await self._database.run(look_up)) is not None:
            # A comparison measures what its jobs do now, and whether that has changed.
            if await self._database.run(self._database.comparisons.has_job, job.id):
                return None
            data = await self._read(stage, row, request)
            if data is not None:
                await self._database.run(self._database.jobs.copy_warnings, row.job_id, job.id)
                return data
            await self._database.run(self._database.images.exclude_from_reuse, row.id)
        return None

    async def _read(
        self, stage: StageSpec, row: LatentRow, request: GenerationRequest
    ) -> bytes | None:
        """Return a latent with its request replaced; None if its file is lost or damaged."""
        try:
            latent = stage.output_class().decode(await self._blobs.get(latent_key(row.id)))
            data: bytes = replace(latent, request=request).encode()
        except (NotFound, WireError) as error:
            logger.warning("latent %s is not reused: %s", row.id, error)
            return None
        return data
