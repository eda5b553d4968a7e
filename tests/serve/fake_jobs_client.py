"""A stand-in for the process that runs jobs; it meets the gateway in the database only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import CascadeError
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef
from cascade_core.images.image_files import ImageInfo, encode_image, encode_preview
from cascade_core.images.pixels import Rgb
from cascade_core.job_states import LIVE_STATES, JobState
from cascade_core.request import GenerationRequest
from serve.gateway.jobs_client import ReplicaCount
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.statements import ModelPassport, Origin, PictureFile
from serve.storage.blobs.blob_keys import image_key, latent_key, preview_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_parts.choice import Choice
from serve.storage.records import (
    ImageRow,
    JobIdentity,
    JobOwner,
    LatentRow,
    NewJob,
    OpenLimits,
    PlannedImage,
    ProgressStep,
)
from serve.storage.waiting_store import ContinuedJob, RedoneJob
from tests.serve.recorded_jobs import record_step, start

PREVIEW = encode_preview(np.full((24, 24, 3), 90, np.uint8))


def plan(
    identity: JobIdentity,
    request: GenerationRequest,
    client_state: dict[str, Any] | None,
    owner: JobOwner,
    family: Family = STABLE_CASCADE,
) -> NewJob:
    job_id = identity.job_id
    images = tuple(
        PlannedImage(
            id=f"IMG{job_id}-{index}",
            index=index,
            latent_id=family.planned_latent_id(request, index) or f"LAT{job_id}-{index}",
            seed=request.for_image(index).seed,
            decoder_seed=request.for_image(index).decoder_seed,
        )
        for index in range(request.n)
    )
    return NewJob(identity, request, client_state, owner, images, family)


class FakeJobsClient:
    """Stands for the process that runs jobs: tests move each job on by hand."""

    def __init__(self, database: Database, blobs: BlobStore, checkpoint: Checkpoint) -> None:
        self.signer: PictureSigner | None = None
        self.database = database
        self.blobs = blobs
        self.model = ModelRef(checkpoint.id, checkpoint.revision, checkpoint.fingerprint)
        self.states: dict[str, str] = {"StageC": "ready", "Jobs": "ready"}
        self.error: Exception | None = None
        self.cancel_errors: list[CascadeError] = []
        self.on_submit: Callable[[str], Awaitable[None]] | None = None
        self.on_continue: Callable[[str], Awaitable[None]] | None = None
        self.on_redo: Callable[[str], Awaitable[None]] | None = None
        self.unwatched: set[str] = set()
        self._ended: dict[str, asyncio.Event] = {}

    async def submit(
        self,
        request: GenerationRequest,
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        identity: JobIdentity,
        *,
        is_watched: bool = True,
    ) -> str:
        if self.error is not None:
            raise self.error
        earlier_id = self.database.jobs.insert(plan(identity, request, client_state, owner))
        if earlier_id is not None:
            return earlier_id
        job_id = identity.job_id
        if not is_watched:
            self.unwatched.add(job_id)
        self._ended[job_id] = asyncio.Event()
        if self.on_submit is not None:
            await self.on_submit(job_id)
        return job_id

    async def continue_job(
        self, job_id: str, owner: JobOwner, choice: Choice, identity: JobIdentity
    ) -> None:
        if self.error is not None:
            raise self.error
        continued = ContinuedJob(job_id, owner, choice, identity, 1.0, ["b", "a"])
        is_new = self.database.waiting.resume(continued, OpenLimits(100, 100))
        if is_new and self.on_continue is not None:
            await self.on_continue(job_id)

    async def redo_job(
        self, job_id: str, owner: JobOwner, indices: Sequence[int], identity: JobIdentity
    ) -> None:
        if self.error is not None:
            raise self.error
        latent_ids = {index: f"LAT{identity.job_id}-{index}" for index in indices}
        redone = RedoneJob(job_id, owner, latent_ids, identity, 1.0, ["c"])
        part = self.database.waiting.redo(redone, OpenLimits(100, 100))
        if part is not None and self.on_redo is not None:
            await self.on_redo(job_id)

    async def cancel(self, job_id: str) -> bool:
        if self.cancel_errors:
            raise self.cancel_errors.pop()
        is_first = self.database.jobs.finish(job_id, "cancelled", if_in=LIVE_STATES)
        self._ended[job_id].set()
        return is_first

    def watch(self, job_id: str) -> None:
        self.unwatched.discard(job_id)

    async def replicas(self) -> dict[str, ReplicaCount]:
        if self.error is not None:
            raise self.error
        return dict.fromkeys(self.states, ReplicaCount(1))

    async def ready(self) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        return self.states

    async def ended(self, job_id: str) -> None:
        await self._ended[job_id].wait()

    def finish(self, job_id: str, state: JobState, error: CascadeError | None = None) -> bool:
        body = error.to_dict() if error else None
        is_first = self.database.jobs.finish(job_id, state, body)
        self._ended[job_id].set()
        return is_first

    def images(self, job_id: str) -> tuple[ImageRow, ...]:
        job = self.database.jobs.get(job_id)
        assert job is not None
        return job.images

    async def make_image(self, job_id: str, index: int = 0, model: ModelRef | None = None) -> None:
        """Do everything a job does for one image, with one preview."""
        job = self.database.jobs.get(job_id)
        assert job is not None
        image = job.images[index]
        start(self.database, job_id)
        await self.show_preview(job_id, "c", 5, index)
        if image.latent_id != job.request.latent_id:
            await self.blobs.put(latent_key(image.latent_id), b"latent bytes")
            request = job.request.for_image(index)
            self.database.images.save_latent(
                LatentRow(image.latent_id, job_id, index, model or self.model, request), "c"
            )
        info = ImageInfo(image.id, image.latent_id, job.request.for_image(index), self.model)
        data = encode_image(pixels(job.request), job.request.format, info)
        if self.signer is not None:
            origin = Origin(ModelPassport("demo", "r1", "f1", "Apache-2.0"), job.request.kind)
            data = self.signer.sign_new(PictureFile(data, job.request.format), origin)
        await self.blobs.put(image_key(image.id, job.request.format), data)
        self.database.images.save(image.id, len(data), "a")

    async def show_preview(self, job_id: str, stage: str, step: int, index: int = 0) -> None:
        preview = preview_key(job_id, index, stage, step)
        await self.blobs.put(preview, PREVIEW)
        record_step(self.database, job_id, stage, step, 12, index, preview)

    async def draft(self, job_id: str) -> None:
        """Bring a job to its stop after Stage C."""
        start(self.database, job_id)
        for image in self.images(job_id):
            if image.preview is None:
                await self.make_composition(job_id, image.index)
        job = self.database.jobs.open_job(job_id)
        assert job is not None
        assert self.database.waiting.begin(job_id, timedelta(hours=24), job.part)

    async def make_composition(self, job_id: str, index: int) -> None:
        """Do everything a job does for one image up to its stop after Stage C."""
        job = self.database.jobs.open_job(job_id)
        assert job is not None
        image, request = job.images[index], job.request_of(index)
        await self.blobs.put(latent_key(image.latent_id), b"latent bytes")
        row = LatentRow(image.latent_id, job_id, index, self.model, request)
        self.database.images.save_latent(row, "c", 0.5)
        key = preview_key(job_id, index, "c", request.steps, image.redo_count)
        await self.blobs.put(key, PREVIEW)
        step = ProgressStep(job_id, index, "c", request.steps, request.steps, key)
        self.database.images.save_preview(image.id, image.latent_id, step)

    async def run(self, job_id: str) -> None:
        """Bring a job to its good end."""
        for image in self.images(job_id):
            await self.make_image(job_id, image.index)
        self.finish(job_id, "succeeded")


def pixels(request: GenerationRequest) -> Rgb:
    red = np.zeros((request.height, request.width, 3), np.uint8)
    red[:, :, 0] = 200
    return red
