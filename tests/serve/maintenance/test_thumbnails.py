"""Pictures without thumbnails get some, a few in each round."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from io import BytesIO

import pytest
from PIL import Image

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import NotFound
from cascade_core.images.fingerprint import fingerprint_of
from serve.maintenance.retention import RetentionWorker
from serve.maintenance.thumbnails import make_missing
from serve.settings import Settings
from serve.storage.blobs.blob_keys import image_key, thumbnail_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.library.entries import SmallFiles
from serve.storage.lineage import Viewpoint
from serve.storage.records import NewJob
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.maintenance.conftest import Stores

JobMaker = Callable[..., NewJob]


async def made(
    database: Database, fake_jobs: FakeJobsClient, make_job: JobMaker, count: int
) -> list[str]:
    """Make pictures as an earlier release does; returns their ids, oldest first."""
    jobs = [make_job() for _ in range(count)]
    for job in jobs:
        database.jobs.insert(job)
        await fake_jobs.make_image(job.id)
    return [job.images[0].id for job in jobs]


async def test_the_newest_pictures_without_thumbnails_get_them_first(
    database: Database, blobs: BlobStore, fake_jobs: FakeJobsClient, make_job: JobMaker
) -> None:
    oldest, *newest = await made(database, fake_jobs, make_job, 3)
    assert await make_missing(database, blobs, limit=2) == 2
    for image_id in newest:
        small = Image.open(BytesIO(await blobs.get(thumbnail_key(image_id, 256))))
        assert (small.format, max(small.size)) == ("WEBP", 256)
        assert await blobs.exists(thumbnail_key(image_id, 512))
    assert not await blobs.exists(thumbnail_key(oldest, 256))
    assert await make_missing(database, blobs, limit=2) == 1
    assert await blobs.exists(thumbnail_key(oldest, 256))
    assert await make_missing(database, blobs) == 0


async def test_pictures_of_an_earlier_release_get_a_fingerprint_of_their_stored_thumbnails(
    database: Database, blobs: BlobStore, fake_jobs: FakeJobsClient, make_job: JobMaker
) -> None:
    (image_id,) = await made(database, fake_jobs, make_job, 1)
    await make_missing(database, blobs)
    database.library.set_small_files(image_id, SmallFiles(1))
    small = await blobs.get(thumbnail_key(image_id, 256))
    await blobs.delete(image_key(image_id, "png"))
    assert await make_missing(database, blobs) == 1
    found = database.fingerprints.nearest(Viewpoint(None, None), (), fingerprint_of(small))
    assert [(one.image_id, one.distance) for one in found] == [(image_id, 0)]
    assert await make_missing(database, blobs) == 0


async def test_a_lost_or_damaged_picture_holds_up_no_other(
    database: Database, blobs: BlobStore, fake_jobs: FakeJobsClient, make_job: JobMaker
) -> None:
    sound, lost, damaged = await made(database, fake_jobs, make_job, 3)
    await blobs.delete(image_key(lost, "png"))
    await blobs.put(image_key(damaged, "png"), b"no picture")
    await make_missing(database, blobs)
    assert await blobs.exists(thumbnail_key(sound, 256))
    for image_id in (lost, damaged):
        with pytest.raises(NotFound):
            await blobs.get(thumbnail_key(image_id, 256))
    assert await make_missing(database, blobs) == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_thumbnails_count_for_the_limit_of_what_is_kept(
    new_stores: Callable[[str, str], Stores], checkpoint: Checkpoint, make_job: JobMaker, kind: str
) -> None:
    database, blobs = new_stores(kind, "folder")
    ids = await made(database, FakeJobsClient(database, blobs, checkpoint), make_job, 2)
    sizes = [database.images.get(image_id).size_bytes for image_id in ids]  # type: ignore[union-attr]
    settings = Settings(keep_gb=sum(size or 0 for size in sizes) / 1e9)

    async def no_workflows(_before: datetime) -> int:
        return 0

    worker = RetentionWorker(database, blobs, settings, no_workflows)
    assert (await worker.run_once()).images == 0
    database.library.set_small_files(ids[1], SmallFiles(1))
    assert (await worker.run_once()).images == 1
    images = [database.images.get(image_id) for image_id in ids]
    assert [image is not None and image.deleted_at is not None for image in images] == [True, False]
    database.close()
