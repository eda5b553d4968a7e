"""What the database knows of uploads, on both kinds of database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from cascade_core.errors import Conflict
from serve.storage.database import Database
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, NewJob, utc_now
from serve.storage.schema.tables import images, uploads
from serve.storage.upload_store import UploadRow
from tests.limits import HANG_S
from tests.serve.storage.job_queue.locks import wait_until_a_lock_is_waited_for
from tests.serve.storage.test_image_store import latent_row
from tests.serve.storage.test_lineage import EVERYTHING

ANN, BOB = JobOwner("key", "ann"), JobOwner("key", "bob")
QUOTA_MB = 10
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def upload(**changes: Any) -> UploadRow:
    now = utc_now()
    values: dict[str, Any] = {
        "id": "UP1",
        "owner": ANN,
        "width": 40,
        "height": 30,
        "size_bytes": 1_000_000,
        "content": "digest",
        "created_at": now,
        "expires_at": now + HOUR,
    }
    return UploadRow(**values | changes)


def uses(database: Database, job: NewJob, upload_id: str) -> NewJob:
    """Record a job whose images are made from an upload."""
    database.jobs.insert(job)
    with database.writing() as connection:
        change = update(images).where(images.c.job_id == job.id)
        connection.execute(change.values(upload_id=upload_id))
    return job


def test_an_upload_is_read_back(database: Database) -> None:
    database.uploads.add(upload(), QUOTA_MB)

    found = database.uploads.get("UP1")

    assert found is not None
    assert (found.owner, found.width, found.height, found.deleted_at) == (ANN, 40, 30, None)
    assert database.uploads.get("UP2") is None


def test_an_upload_whose_time_is_over_counts_as_deleted(database: Database) -> None:
    database.uploads.add(upload(expires_at=utc_now() - HOUR), QUOTA_MB)

    found = database.uploads.get("UP1")

    assert found is not None
    assert found.deleted_at == found.expires_at


def test_equal_pixels_of_one_owner_are_found_and_kept_longer(database: Database) -> None:
    database.uploads.add(upload(), QUOTA_MB)
    later = utc_now() + 5 * HOUR

    found = database.uploads.find_equal(ANN, "digest", later)

    assert found is not None
    assert (found.id, found.expires_at) == ("UP1", later)
    sooner = database.uploads.find_equal(ANN, "digest", utc_now())
    assert sooner is not None
    assert sooner.expires_at == later


@pytest.mark.parametrize("owner", [BOB, JobOwner("other", "ann"), JobOwner(None, None)])
def test_equal_pixels_of_others_are_not_found(database: Database, owner: JobOwner) -> None:
    database.uploads.add(upload(), QUOTA_MB)

    assert database.uploads.find_equal(owner, "digest", utc_now()) is None


def test_equal_pixels_that_were_deleted_or_have_expired_are_not_found(database: Database) -> None:
    database.uploads.add(upload(expires_at=utc_now() - HOUR), QUOTA_MB)
    database.uploads.add(upload(id="UP2", content="other"), QUOTA_MB)
    database.uploads.delete("UP2")

    assert database.uploads.find_equal(ANN, "digest", utc_now()) is None
    assert database.uploads.find_equal(ANN, "other", utc_now()) is None


def test_an_upload_that_is_being_deleted_is_not_found_as_an_equal_one(
    database: Database, database_url: str
) -> None:
    database.uploads.add(upload(), QUOTA_MB)
    with ThreadPoolExecutor(1) as threads:
        with database.writing() as connection:
            connection.execute(update(uploads).values(deleted_at=utc_now()))
            found = threads.submit(database.uploads.find_equal, ANN, "digest", utc_now() + HOUR)
            if database_url.startswith("postgresql"):  # SQLite has one writer at a time
                wait_until_a_lock_is_waited_for(database)
        assert found.result(HANG_S) is None


def test_an_upload_that_is_found_again_when_its_time_is_over_stays(
    database: Database, database_url: str
) -> None:
    database.uploads.add(upload(), QUOTA_MB)
    with ThreadPoolExecutor(1) as threads:
        with database.writing() as connection:
            connection.execute(update(uploads).values(expires_at=utc_now() + 5 * HOUR))
            deleted = threads.submit(database.uploads.delete_expired, utc_now() + 2 * HOUR)
            if database_url.startswith("postgresql"):
                wait_until_a_lock_is_waited_for(database)
        assert deleted.result(HANG_S) == 0


def test_owners_without_key_or_user_are_told_apart(database: Database) -> None:
    database.uploads.add(upload(owner=JobOwner(None, None)), QUOTA_MB)

    assert database.uploads.find_equal(JobOwner(None, "ann"), "digest", utc_now()) is None
    assert database.uploads.find_equal(JobOwner(None, None), "digest", utc_now()) is not None


def test_the_quota_is_of_each_owner_and_says_when_there_is_room(database: Database) -> None:
    database.uploads.add(upload(size_bytes=9_000_000), QUOTA_MB)
    database.uploads.add(upload(id="UP2", owner=BOB, size_bytes=9_000_000), QUOTA_MB)

    with pytest.raises(Conflict, match=r"may take 10 MB; yours take 9.0 MB and this one 1.1 MB"):
        database.uploads.add(upload(id="UP3", size_bytes=1_100_000), QUOTA_MB)
    database.uploads.add(upload(id="UP4", size_bytes=1_000_000), QUOTA_MB)

    assert database.uploads.get("UP3") is None


def test_uploads_that_come_at_once_keep_the_quota_together(database: Database) -> None:
    others = threading.Barrier(4)

    def is_added(number: int) -> bool:
        others.wait(HANG_S)
        try:
            database.uploads.add(upload(id=f"UP{number}", size_bytes=4_000_000), QUOTA_MB)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(is_added, range(4))) == 2


def test_room_is_checked_before_an_upload_is_there(database: Database) -> None:
    database.uploads.add(upload(size_bytes=9_000_000), QUOTA_MB)

    database.uploads.check_room(ANN, "other", 1_000_000, QUOTA_MB)
    database.uploads.check_room(ANN, "digest", 9_000_000, QUOTA_MB)
    database.uploads.check_room(BOB, "digest", 9_000_000, QUOTA_MB)
    with pytest.raises(Conflict, match=r"yours take 9.0 MB and this one 1.1 MB"):
        database.uploads.check_room(ANN, "other", 1_100_000, QUOTA_MB)
    database.uploads.delete("UP1")
    with pytest.raises(Conflict, match=r"this one 10.1 MB"):
        database.uploads.check_room(ANN, "digest", 10_100_000, QUOTA_MB)


def test_deleted_and_expired_uploads_leave_the_quota(database: Database) -> None:
    database.uploads.add(upload(size_bytes=9_000_000, expires_at=utc_now() - HOUR), QUOTA_MB)
    database.uploads.add(upload(id="UP2", size_bytes=9_000_000), QUOTA_MB)
    database.uploads.delete("UP2")
    database.uploads.delete("UP2")

    database.uploads.add(upload(id="UP3", size_bytes=9_000_000), QUOTA_MB)

    assert database.uploads.get("UP3") is not None


def test_a_used_upload_is_kept_longer_but_never_shorter(database: Database) -> None:
    database.uploads.add(upload(), QUOTA_MB)
    later = utc_now() + 5 * HOUR

    database.uploads.keep("UP1", later)
    database.uploads.keep("UP1", utc_now())

    found = database.uploads.get("UP1")
    assert found is not None
    assert found.expires_at == later


def test_an_upload_that_an_open_job_needs_does_not_expire(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    database.uploads.add(upload(expires_at=utc_now() - HOUR), QUOTA_MB)
    database.uploads.add(upload(id="UP2", expires_at=utc_now() - HOUR), QUOTA_MB)
    job = uses(database, make_job(), "UP1")

    assert database.uploads.delete_expired(utc_now()) == 1
    database.jobs.finish(job.id, "succeeded")
    assert database.uploads.delete_expired(utc_now()) == 1
    assert database.uploads.delete_expired(utc_now()) == 0


def test_the_images_and_open_jobs_of_an_upload_are_found(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    open_job = uses(database, make_job(n=2), "UP1")
    ended = uses(database, make_job(), "UP1")
    database.images.save_latent(latent_row(ended), "c")
    database.images.save(ended.images[0].id, 10, "a")
    failed = uses(database, make_job(), "UP1")
    database.jobs.finish(ended.id, "succeeded")
    database.jobs.finish(failed.id, "failed")
    database.jobs.insert(make_job())

    child = make_job(kind="vary", strength=0.5, latent_id=ended.images[0].latent_id)
    database.jobs.insert(child)
    database.images.save(child.images[0].id, 10, "a")
    database.jobs.finish(child.id, "succeeded")

    of_open = [image.id for image in open_job.images]
    made = sorted([ended.images[0].id, child.images[0].id, *of_open], reverse=True)
    assert database.uploads.dependants("UP1", EVERYTHING) == (made, [open_job.id])
    assert database.uploads.dependants("UP2", EVERYTHING) == ([], [])

    database.images.delete(ended.images[0].id)
    left = sorted([child.images[0].id, *of_open], reverse=True)
    assert database.uploads.dependants("UP1", EVERYTHING) == (left, [open_job.id])


def test_a_composition_that_comes_after_the_deletion_of_its_image_is_deleted_with_it(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    job = uses(database, make_job(), "UP1")
    image = job.images[0]
    database.jobs.finish(job.id, "cancelled")
    assert database.images.delete(image.id, if_made=False) is not None
    database.images.save_latent(latent_row(job), "c")

    found = database.images.latent(image.latent_id)
    assert found is not None
    assert found.deleted_at is not None


def test_what_was_made_from_the_composition_of_an_ended_draft_is_found_with_that_composition(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    draft = uses(database, make_job(stop_after="c"), "UP1")
    image = draft.images[0]
    database.images.save_latent(latent_row(draft), "c")
    database.jobs.finish(draft.id, "succeeded")
    picked = make_job(kind="decode", latent_id=image.latent_id)
    database.jobs.insert(picked)
    database.images.save(picked.images[0].id, 10, "a")
    database.jobs.finish(picked.id, "succeeded")

    ids = sorted([image.id, picked.images[0].id], reverse=True)
    assert database.uploads.dependants("UP1", EVERYTHING) == (ids, [])

    assert database.images.delete(image.id) is None
    assert database.images.delete(image.id, if_made=False) is not None
    assert database.uploads.dependants("UP1", EVERYTHING) == ([picked.images[0].id], [])


def test_what_was_made_from_a_composition_before_it_was_made_anew_is_found(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    draft = uses(database, make_job(stop_after="c"), "UP1")
    database.images.save_latent(latent_row(draft), "c")
    before, anew = draft.images[0], replace(draft.images[0], latent_id="anew")
    database.images.save_latent(latent_row(replace(draft, images=(anew,))), "c")
    with database.writing() as connection:
        change = update(images).where(images.c.id == anew.id)
        connection.execute(change.values(latent_id=anew.latent_id))
    child = make_job(kind="decode", latent_id=before.latent_id)
    database.jobs.insert(child)
    database.images.save(child.images[0].id, 10, "a")

    ids = sorted([anew.id, child.images[0].id], reverse=True)
    assert database.uploads.dependants("UP1", EVERYTHING)[0] == ids


def test_what_the_caller_may_not_see_is_not_found(
    database: Database, make_job: Callable[..., NewJob]
) -> None:
    mine = uses(database, make_job(user="ann"), "UP1")
    database.images.save_latent(latent_row(mine), "c")
    between = make_job(kind="vary", strength=0.5, latent_id=mine.images[0].latent_id, user="bob")
    database.jobs.insert(between)
    database.images.save_latent(latent_row(between), "c")
    last = make_job(kind="decode", latent_id=between.images[0].latent_id, user="ann")
    database.jobs.insert(last)

    ids = sorted([mine.images[0].id, last.images[0].id], reverse=True)
    found = database.uploads.dependants("UP1", Viewpoint(None, "ann"))
    assert found == (ids, sorted([mine.id, last.id]))
    assert database.uploads.dependants("UP1", Viewpoint("another key", None)) == ([], [])
