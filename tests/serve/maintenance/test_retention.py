"""What is kept and what goes, on both kinds of database and store; the clock is the test's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from cascade_core.errors import NotReady
from serve.gateway.events.event_hub import EventHub
from serve.maintenance.retention import GRACE, RetentionReport, RetentionWorker
from serve.settings import Settings
from serve.storage.blobs.blob_keys import handoff_key, image_key, latent_key, preview_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob, utc_now
from serve.storage.schema.tables import images, library
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.storage.test_image_store import latent_row

JobMaker = Callable[..., NewJob]
Round = Callable[..., Any]
AFTER_GRACE = GRACE + timedelta(minutes=1)


@pytest.fixture(params=["sqlite+folder", "postgresql+s3"])
def kinds(request: pytest.FixtureRequest) -> list[str]:
    kinds: list[str] = request.param.split("+")
    return kinds


@pytest.fixture
def database_url(kinds: list[str], new_database_url: Callable[[str], str]) -> str:
    return new_database_url(kinds[0])


@pytest.fixture
def blobs(kinds: list[str], new_blob_url: Callable[[str], str]) -> BlobStore:
    return BlobStore(new_blob_url(kinds[1]))


async def no_workflows(_before: datetime) -> int:
    return 0


@pytest.fixture
def tidy(database: Database, blobs: BlobStore) -> Round:
    """Does a round as if it were ``later``."""

    async def tidy(later: timedelta, **settings: Any) -> RetentionReport:
        def now() -> datetime:
            return utc_now() + later

        return await RetentionWorker(
            database, blobs, Settings(**settings), no_workflows, now
        ).run_once()

    return tidy


@pytest.fixture
def finished(database: Database, fake_jobs: FakeJobsClient, make_job: JobMaker) -> Round:
    """Makes a job and everything in it."""

    async def finished(**changes: Any) -> NewJob:
        job = make_job(**changes)
        database.jobs.insert(job)
        for index in range(job.request.n):
            await fake_jobs.make_image(job.id, index)
        database.jobs.finish(job.id, "succeeded")
        return job

    return finished


async def keys(blobs: BlobStore) -> set[str]:
    found = set()
    for folder in ("images", "latents", "handoffs", "previews"):
        async for chunk in blobs.list_folder(folder):
            found |= {info.key for info in chunk}
    return found


def is_deleted(database: Database, job: NewJob, index: int = 0) -> tuple[bool, bool]:
    """Return True if an image and its latent are marked deleted."""
    image = database.images.get(job.images[index].id)
    latent = database.images.latent(job.images[index].latent_id)
    assert image is not None
    assert latent is not None
    return image.deleted_at is not None, latent.deleted_at is not None


async def test_what_is_needed_stays_when_nothing_is_set(
    database: Database, blobs: BlobStore, finished: Round, tidy: Round, make_job: JobMaker
) -> None:
    job = await finished(n=2)
    variation = await finished(kind="vary_details", latent_id=job.images[0].latent_id)
    before = await keys(blobs)
    assert await tidy(timedelta(days=1)) == RetentionReport(0, 0, 0, 0, 0, 0)
    assert await keys(blobs) == before
    assert is_deleted(database, job) == is_deleted(database, variation) == (False, False)


async def test_bytes_without_a_row_go_after_the_grace_period(
    blobs: BlobStore, finished: Round, tidy: Round
) -> None:
    await finished()
    needed = await keys(blobs)
    orphans = {
        image_key("ORPHAN", "png"),
        latent_key("ORPHAN"),
        handoff_key("ORPHAN", 0, "b"),
        preview_key("ORPHAN", 0, "c", 1),
    }
    for key in orphans:
        await blobs.put(key, b"x")
    assert (await tidy(timedelta(0))).blobs == 0
    assert await keys(blobs) == needed | orphans
    assert (await tidy(AFTER_GRACE)).blobs == 4
    assert await keys(blobs) == needed


async def test_what_a_killed_process_left_goes_only_when_its_job_has_ended(
    database: Database, blobs: BlobStore, make_job: JobMaker, tidy: Round
) -> None:
    job = make_job()
    database.jobs.insert(job)
    image = job.images[0]
    written = {image_key(image.id, "png"), latent_key(image.latent_id), handoff_key(job.id, 0, "b")}
    for key in written:
        await blobs.put(key, b"bytes whose row was never written")
    assert (await tidy(AFTER_GRACE)).blobs == 0
    assert await keys(blobs) == written
    database.jobs.finish(job.id, "cancelled")
    assert (await tidy(AFTER_GRACE)).blobs == 3
    assert await keys(blobs) == set()


async def test_bytes_that_a_broken_off_deletion_left_go(
    database: Database, blobs: BlobStore, finished: Round, tidy: Round
) -> None:
    job = await finished()
    database.images.delete(job.images[0].id)
    assert (await tidy(AFTER_GRACE)).blobs == 3
    assert await keys(blobs) == set()


async def test_a_file_that_a_kill_tore_goes_after_the_grace_period(
    database: Database, tmp_path: Path
) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    await blobs.put("images/whole.png", b"x")
    partial = tmp_path / "blobs" / "images" / "torn.png#1"  # how obstore names what it still writes
    partial.write_bytes(b"x")
    settings = Settings()
    assert (
        await RetentionWorker(database, blobs, settings, no_workflows, utc_now).run_once()
    ).blobs == 0
    assert partial.exists()

    def later() -> datetime:
        return utc_now() + AFTER_GRACE

    await RetentionWorker(database, blobs, settings, no_workflows, later).run_once()
    assert not partial.exists()


async def test_files_of_others_in_the_folder_of_the_store_stay(
    database: Database, tmp_path: Path
) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    theirs = [
        tmp_path / "blobs" / name for name in ("photos/trip #1.jpg", "photos/trip#1", "#notes#")
    ]
    for file in theirs:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")

    def later() -> datetime:
        return utc_now() + AFTER_GRACE

    await RetentionWorker(database, blobs, Settings(), no_workflows, later).run_once()
    assert all(file.exists() for file in theirs)


async def test_the_store_of_another_database_is_left_alone(
    blobs: BlobStore, tidy: Round, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = {image_key(f"THEIRS{number}", "png") for number in range(21)}
    for key in theirs:
        await blobs.put(key, b"x")
    with caplog.at_level(logging.ERROR, "serve.maintenance.retention"):
        assert (await tidy(AFTER_GRACE)).blobs == 0
    assert await keys(blobs) == theirs
    assert "CASCADE_BLOB_URL" in caplog.text


async def test_a_round_that_fails_is_followed_by_the_next(
    database: Database, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [NotReady("the blob store does not answer")]
    second_round = asyncio.Event()
    retention = RetentionWorker(database, blobs, Settings(), delete_workflows=no_workflows)
    real = retention.run_once

    async def run_once() -> RetentionReport:
        if outcomes:
            raise outcomes.pop()
        second_round.set()
        return await real()

    monkeypatch.setattr(retention, "run_once", run_once)
    running = asyncio.create_task(retention.run_forever(lambda: True, every_s=0.001, look_s=0.001))
    await asyncio.wait_for(second_round.wait(), HANG_S)
    assert not running.done()
    running.cancel()


async def test_rounds_are_done_only_by_the_process_that_is_to_do_them(
    database: Database, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, looks_before_round = 0, []
    done = asyncio.Event()

    def is_wanted() -> bool:
        nonlocal looks
        looks += 1
        return looks > 3

    async def run_once() -> None:
        looks_before_round.append(looks)
        done.set()

    retention = RetentionWorker(database, blobs, Settings(), delete_workflows=no_workflows)
    monkeypatch.setattr(retention, "run_once", run_once)
    running = asyncio.create_task(retention.run_forever(is_wanted, look_s=0.001))
    await asyncio.wait_for(done.wait(), HANG_S)
    running.cancel()
    assert looks_before_round == [4]


async def test_images_go_with_latent_and_bytes_when_they_are_too_old(
    database: Database, blobs: BlobStore, finished: Round, tidy: Round
) -> None:
    job = await finished()
    assert (await tidy(timedelta(days=29), keep_days=30)).images == 0
    assert is_deleted(database, job) == (False, False)
    assert (await tidy(timedelta(days=31), keep_days=30)).images == 1
    assert is_deleted(database, job) == (True, True)
    assert await keys(blobs) == set()


async def test_the_oldest_images_go_when_all_take_too_much_space(
    database: Database, finished: Round, tidy: Round
) -> None:
    made = [await finished() for _ in range(4)]
    sizes = [database.images.get(job.images[0].id).size_bytes for job in made]  # type: ignore[union-attr]
    assert (await tidy(AFTER_GRACE, keep_gb=sum(sizes) / 1e9)).images == 0
    assert (await tidy(AFTER_GRACE, keep_gb=sum(sizes[2:]) / 1e9)).images == 2
    assert [is_deleted(database, job)[0] for job in made] == [True, True, False, False]


async def test_an_old_latent_without_a_picture_goes_once_its_job_has_ended(
    database: Database, blobs: BlobStore, make_job: JobMaker, tidy: Round
) -> None:
    job = make_job(n=2)
    database.jobs.insert(job)
    await blobs.put(latent_key(job.images[0].latent_id), b"x")
    database.images.save_latent(latent_row(job), "c")
    assert (await tidy(timedelta(days=2), keep_days=1)).latents == 0
    database.jobs.finish(job.id, "failed", {"code": "internal", "message": "no"})
    assert (await tidy(timedelta(days=2), keep_days=1)).latents == 1
    assert await keys(blobs) == set()


async def test_a_deleted_pictures_latent_goes_once_no_open_job_starts_from_it(
    database: Database, blobs: BlobStore, finished: Round, make_job: JobMaker, tidy: Round
) -> None:
    original = await finished()
    job = make_job(kind="vary_details", latent_id=original.images[0].latent_id)
    database.jobs.insert(job)
    database.images.delete(original.images[0].id)
    assert (await tidy(AFTER_GRACE)).latents == 0
    assert latent_key(original.images[0].latent_id) in await keys(blobs)
    database.jobs.finish(job.id, "failed", {"code": "internal", "message": "no"})
    assert (await tidy(AFTER_GRACE)).latents == 1
    assert await keys(blobs) == set()


async def test_a_replaced_composition_goes_with_its_picture_once_no_open_job_starts_from_it(
    database: Database, finished: Round, make_job: JobMaker, tidy: Round
) -> None:
    [image] = (await finished()).images
    job = make_job(kind="vary_details", latent_id=image.latent_id)
    database.jobs.insert(job)
    anew = update(images).where(images.c.id == image.id).values(latent_id="another")
    with database.writing() as connection:
        connection.execute(anew)
    database.images.delete(image.id)
    assert (await tidy(AFTER_GRACE)).latents == 0
    database.jobs.finish(job.id, "failed", {"code": "internal", "message": "no"})
    assert (await tidy(AFTER_GRACE)).latents == 1


async def test_a_composition_without_a_picture_outlives_its_deleted_variation(
    database: Database, fake_jobs: FakeJobsClient, finished: Round, make_job: JobMaker, tidy: Round
) -> None:
    composition = make_job()
    database.jobs.insert(composition)
    database.images.save_latent(latent_row(composition), "c")
    database.jobs.finish(composition.id, "cancelled")
    drawn = await finished(kind="vary_details", latent_id=composition.images[0].latent_id)
    database.images.delete(drawn.images[0].id)
    assert (await tidy(AFTER_GRACE)).latents == 0
    assert is_deleted(database, drawn) == (True, False)
    assert (await tidy(timedelta(days=2), keep_days=1)).latents == 1


async def test_events_and_previews_of_ended_jobs_go_and_the_end_can_still_be_read(
    database: Database, blobs: BlobStore, finished: Round, tidy: Round
) -> None:
    job = await finished()
    assert (await tidy(timedelta(days=6))).events == 0
    assert await blobs.exists(preview_key(job.id, 0, "c", 5))
    assert (await tidy(timedelta(days=8))) == RetentionReport(0, 0, 0, 3, 0, 1)
    assert not await blobs.exists(preview_key(job.id, 0, "c", 5))
    assert await blobs.exists(image_key(job.images[0].id, "png"))
    hub = EventHub(database)
    assert [event.type async for event in hub.follow(job.id)] == ["succeeded"]
    await hub.close()


async def test_events_and_previews_of_an_open_job_stay(
    database: Database, blobs: BlobStore, fake_jobs: FakeJobsClient, make_job: JobMaker, tidy: Round
) -> None:
    job = make_job()
    database.jobs.insert(job)
    await fake_jobs.make_image(job.id)
    assert await tidy(timedelta(days=365)) == RetentionReport(0, 0, 0, 0, 0, 0)
    assert await blobs.exists(preview_key(job.id, 0, "c", 5))


async def test_what_a_waiting_job_has_stays_until_it_has_ended(
    database: Database,
    blobs: BlobStore,
    fake_jobs: FakeJobsClient,
    make_job: JobMaker,
    tidy: Round,
) -> None:
    job = make_job(n=2, stop_after="c")
    database.jobs.insert(job)
    await fake_jobs.draft(job.id)
    had, days = await keys(blobs), timedelta(days=3)
    settings = {"keep_days": 1, "keep_events_days": 1}
    assert await tidy(days, **settings) == RetentionReport(0, 0, 0, 0, 0, 0)
    assert await keys(blobs) == had
    assert len(had) == 4
    assert database.jobs.finish(job.id, "succeeded", if_in=["waiting"])
    await tidy(days, keep_events_days=1)
    assert await keys(blobs) == {latent_key(image.latent_id) for image in job.images}
    await tidy(days, **settings)
    assert await keys(blobs) == set()


async def test_variations_that_the_release_before_has_recorded_name_their_latent(
    database: Database, finished: Round, tidy: Round
) -> None:
    original = await finished()
    variation = await finished(kind="vary_details", latent_id=original.images[0].latent_id)
    with database.writing() as connection:  # it does not know the column
        connection.execute(update(images).values(source_latent_id=None))
    await tidy(timedelta())
    sources = [database.images.get(job.images[0].id) for job in (original, variation)]
    assert [image and image.source_latent_id for image in sources] == [
        None,
        original.images[0].latent_id,
    ]


async def test_the_library_gets_what_the_release_before_made_and_loses_what_it_deleted(
    database: Database, finished: Round, tidy: Round
) -> None:
    made, deleted = await finished(), await finished()
    with database.writing() as connection:  # it does not know the library
        connection.execute(delete(library).where(library.c.job_id == made.id))
        gone = update(images).where(images.c.id == deleted.images[0].id)
        connection.execute(gone.values(deleted_at=utc_now()))
    await tidy(timedelta())
    with database.reading() as connection:
        assert connection.execute(select(library.c.job_id)).scalars().all() == [made.id]
