"""What the stages have made for a job: where it is stored, how it is recorded, read and removed.

A family keeps the output of one stage as the image's latent. The last stage makes the image file.
Every other output is a hand-off, which goes to the next stage in memory and is not stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from cascade_core.errors import Gone, InvalidRequest, WireError
from cascade_core.families.spec import StageSpec
from cascade_core.images.fingerprint import FINGERPRINT_SIDE_PX, fingerprint_of
from serve.jobs.dispatch.stage_client import StageResult
from serve.jobs.signed_pictures import SignedPictures
from serve.provenance.picture_signer import PictureSigner
from serve.served_models import Models
from serve.storage.blobs import blob_keys
from serve.storage.image_store import ImageStore
from serve.storage.job_queue.deadline_store import DeadlineStore
from serve.storage.job_store import JobStore
from serve.storage.library.entries import UNKNOWN, SmallFiles
from serve.storage.records import LatentRow, LatentUse, OpenJob, ProgressStep
from serve.storage.retry import RetryingBlobs, RetryingDatabase, WaitedTimes, retry_until_ready
from serve.telemetry.metrics import HandoffMetrics, HandoffPart
from serve.telemetry.tracing import span

LATENT: Final = "this latent"
"""What error messages call a kept output."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Encoding:
    """The encoded upload of a job, once an image has needed it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    result: StageResult | None = None


class StageOutputs:
    """Reads and writes the outputs of stages, image by image.

    Args:
        database: where they are recorded.
        blobs: where their bytes are.
        metrics: measures each way to the store and from it.
        models: that make the pictures.
        signer: signs pictures; None: nothing does.
    """

    def __init__(
        self,
        database: RetryingDatabase,
        blobs: RetryingBlobs,
        metrics: HandoffMetrics,
        models: Models,
        signer: PictureSigner | None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._metrics = metrics
        self._pictures = SignedPictures(models, database, blobs, signer)
        self._waited = WaitedTimes()
        self._handoffs_s: dict[str, dict[str, float]] = {}
        self._encodings: dict[str, _Encoding] = {}

    async def count_made(self, job: OpenJob, index: int, route: Sequence[StageSpec]) -> int:
        """Return how many stages need not run, as the output of the last of them is recorded.

        Hand-offs are not, and are made again.
        """
        find, latent_id = self._database.images.do, job.images[index].latent_id
        for number, stage in enumerate(route, 1):
            if stage.keeps_output and await find(ImageStore.latent, latent_id) is not None:
                return number
        return 0

    def is_finished(self, job: OpenJob, index: int) -> bool:
        """Return True if an image needed nothing more when this process took its job up."""
        image = job.images[index]
        return (image.ready_at if job.request.stop_after is None else image.preview) is not None

    async def read(self, job: OpenJob, index: int, stage: StageSpec, *, is_start: bool) -> bytes:
        """Return a latent that a stage has made.

        Args:
            job: whose image needs it.
            index: of the image.
            stage: that made the latent.
            is_start: the image starts from it; otherwise it is the image's own.

        Raises:
            Gone: it was lost.
        """
        start_id = job.request.source_latent_id(index) if is_start else None
        latent_id = start_id or job.images[index].latent_id
        key, on_wait = blob_keys.latent_key(latent_id), partial(self._extend, job.id)
        with self._measured(stage, "fetch", key), span(f"fetch from stage {stage.name}"):
            return await self._blobs.get_known(key, LATENT, on_wait)

    async def read_upload(self, job: OpenJob) -> bytes:
        """Return the upload that a job's images start from; tries once.

        Raises:
            Gone: it was deleted, or lost.
            NotReady: the store does not answer; see :meth:`retried`.
        """
        upload_id = job.request.upload_id
        assert upload_id is not None  # the job starts from one
        with span("fetch an upload"):
            try:
                return await self._blobs.get_known_once(blob_keys.upload_key(upload_id), "")
            except Gone as error:
                raise Gone("this upload was deleted") from error

    async def encoded(
        self, job_id: str, encode: Callable[[], Awaitable[StageResult]]
    ) -> StageResult:
        """Return the encoded upload of a job.

        One image has it encoded, by ``encode``; the others wait for it, and then it costs nothing.
        It is not stored: after a crash it is encoded again, for the images that still need it.
        """
        encoding = self._encodings.setdefault(job_id, _Encoding())
        async with encoding.lock:
            if encoding.result is not None:
                return replace(encoding.result, seconds=0.0)
            encoding.result = await encode()
            return encoding.result

    async def retried(self, job_id: str, call: Callable[[], Awaitable[StageResult]]) -> StageResult:
        """Repeat the call of a stage that reads from the store until the store answers.

        Between two tries it has no slot, and the wait does not count against the job's deadline.
        """
        return await retry_until_ready(call, partial(self._extend, job_id))

    async def write(
        self,
        job: OpenJob,
        index: int,
        stage: StageSpec,
        result: StageResult,
        use: LatentUse = "ran",
    ) -> None:
        """Store a stage's output and record its cost; a hand-off's goes with the next picture's.

        Args:
            job: whose image it is.
            index: of the image.
            stage: that made the output.
            result: the output's bytes, the seconds on the model, and a picture's thumbnails.
            use: how a latent came about.

        Raises:
            ProvenanceFailed: the picture could not be signed; nothing of it is stored.
        """
        data = result.data
        self._metrics.size(stage.name, len(data))
        if stage.output and not stage.keeps_output:
            costs_s = self._handoffs_s.setdefault(job.id, {})
            costs_s[stage.name] = costs_s.get(stage.name, 0.0) + result.seconds
            return
        # A latent is decoded before it is stored: a malformed one leaves no file behind.
        latent = stage.output_class().decode(data) if stage.keeps_output else None
        key, on_wait = _key(job, index, stage), partial(self._extend, job.id)
        image, made = job.images[index], (stage.name, result.seconds)
        if latent is None:
            data = await self._pictures.signed(job, index, result, on_wait)
        with self._measured(stage, "store", key), span(f"store of stage {stage.name}"):
            _, small = await asyncio.gather(
                self._blobs.put(key, data, on_wait),
                self._write_thumbnails(image.id, result.thumbnails),
            )
        if latent is not None:
            row = LatentRow(image.latent_id, job.id, index, latent.model, latent.request)
            await self._database.images.do(ImageStore.save_latent, row, *made, use)
        else:
            save, handoffs_s = ImageStore.save, self._handoffs_s.pop(job.id, {})
            values = image.id, len(data), *made, handoffs_s, small
            await self._database.images.do(save, *values)

    async def _write_thumbnails(self, image_id: str, files: Mapping[int, bytes]) -> SmallFiles:
        """Store a picture's thumbnails; nothing is known of them if one is missing.

        The picture does not wait for a store that does not answer: they can be made later.
        """
        puts = [
            self._blobs.try_put(blob_keys.thumbnail_key(image_id, side_px), file)
            for side_px, file in files.items()
        ]
        is_stored = await asyncio.gather(*puts)
        if not is_stored or not all(is_stored):
            return UNKNOWN
        size_bytes, fingerprint = sum(map(len, files.values())), None
        with suppress(InvalidRequest):  # another round makes them anew
            small = files.get(FINGERPRINT_SIDE_PX, b"")
            fingerprint = await asyncio.to_thread(fingerprint_of, small)
        return SmallFiles(size_bytes, fingerprint)

    async def write_preview(
        self, job: OpenJob, index: int, stage: StageSpec, preview: bytes
    ) -> None:
        """Store the preview of a latent after which a job stops."""
        steps, image = stage.steps(job.request), job.images[index]
        key = blob_keys.preview_key(job.id, index, stage.name, steps, image.redo_count)
        await self._blobs.put(key, preview, partial(self._extend, job.id))
        step = ProgressStep(job.id, index, stage.name, steps, steps, key)
        await self._database.images.do(ImageStore.save_preview, image.id, image.latent_id, step)

    async def drop_latent(self, job: OpenJob, index: int) -> None:
        """Forget a latent, so that its stage makes it again."""
        await self._database.images.do(ImageStore.forget_latent, job.images[index].latent_id)

    async def record_handoffs(self, job_id: str) -> None:
        """Record the cost of hand-offs that led to no picture, before the job's end."""
        if costs_s := self._handoffs_s.pop(job_id, None):
            await self._database.jobs.do(JobStore.add_costs, job_id, costs_s)

    def forget(self, job_id: str) -> None:
        """Forget a job that this process no longer runs."""
        self._waited.forget(job_id)
        self._handoffs_s.pop(job_id, None)
        self._encodings.pop(job_id, None)

    async def _extend(self, job_id: str, since_s: float, until_s: float) -> None:
        """Move the job's deadline on, as the blob store did not answer for that time.

        Images of one job that wait at the same time move it on once.
        """
        waited_s = self._waited.add(job_id, since_s, until_s)
        await self._database.deadlines.try_once(
            DeadlineStore.extend, job_id, timedelta(seconds=waited_s)
        )

    @contextmanager
    def _measured(self, stage: StageSpec, part: HandoffPart, key: str) -> Iterator[None]:
        """Measure and log one way of an output, to the store or from it."""
        began_s = time.monotonic()
        with self._metrics.timed(stage.name, part):
            yield
        took_s = time.monotonic() - began_s
        logger.info("stage %s, %s: %.3f s to %s", stage.name, key, took_s, part)


@contextmanager
def checked_input(source_class: Any, source: bytes | None) -> Iterator[None]:
    """Distinguish a damaged input of a stage from a fault of the stage itself.

    Args:
        source_class: the class of the input.
        source: the input, if it comes from the store.

    Raises:
        Gone: a stage refused the input, and its own class refuses it, too.
    """
    try:
        yield
    except WireError:
        if source is None:
            raise
        try:
            source_class.decode(source)
        except WireError as error:
            raise Gone(f"{LATENT} is recorded, but its file in the store is damaged") from error
        raise


def _key(job: OpenJob, index: int, stage: StageSpec) -> str:
    image = job.images[index]
    if stage.keeps_output:
        return blob_keys.latent_key(image.latent_id)
    return blob_keys.image_key(image.id, job.request.format)


@asynccontextmanager
async def awaited(writes: Sequence[asyncio.Task[None]]) -> AsyncIterator[None]:
    """Let writes end also if the block fails; if this process shuts down, they stop."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            for write in writes:
                write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)
        raise
