"""Retention never takes what was submitted or is beyond, whatever it is set to."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from serve.maintenance.retention import RetentionWorker
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import utc_now
from serve.storage.schema.asset_states import PROTECTED, STATES, AssetState
from serve.storage.schema.asset_tables import assets
from serve.storage.schema.tables import images, jobs, latents, library, library_words
from tests.serve.conftest import JobMaker

RUNS = int(os.environ.get("RETENTION_RUNS", "25"))
"""Random rounds on each database; raise it to look for rare ones."""

MB = 1_000_000
PICTURES = st.lists(
    st.tuples(
        st.sampled_from(STATES), st.integers(1, 40).map(float), st.integers(1, 9).map(MB.__mul__)
    ),
    min_size=1,
    max_size=6,
)
"""State, age in days, and size in bytes of each picture."""


async def no_workflows(_before: datetime) -> int:
    return 0


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def add_picture(
    database: Database, make_job: JobMaker, state: AssetState, age_days: float, size_bytes: int
) -> str:
    job = make_job()
    database.jobs.insert(job)
    image_id = job.images[0].id
    database.images.save(image_id, size_bytes, "a")
    database.jobs.finish(job.id, "succeeded")
    ready_at = utc_now() - timedelta(days=age_days)
    asset = {
        "image_id": image_id,
        "state": state,
        "version": 1,
        "sha256": "a" * 64,
        "note": "",
        "changed_at": ready_at,
    }
    with database.writing() as connection:
        connection.execute(update(images).where(images.c.id == image_id).values(ready_at=ready_at))
        connection.execute(assets.insert().values(asset))
    return image_id


def forget_all(database: Database) -> None:
    with database.writing() as connection:
        for table in (assets, library_words, library, images, latents, jobs):
            connection.execute(delete(table))


def is_kept(database: Database, image_id: str) -> bool:
    image = database.images.get(image_id)
    assert image is not None
    return image.deleted_at is None


@settings(
    max_examples=RUNS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(pictures=PICTURES, keep_days=st.integers(0, 20), keep_mb=st.integers(0, 30))
async def test_no_protected_picture_goes_and_no_other_takes_its_room(
    database: Database,
    blobs: BlobStore,
    make_job: JobMaker,
    pictures: list[tuple[AssetState, float, int]],
    keep_days: int,
    keep_mb: int,
) -> None:
    forget_all(database)
    made = [(add_picture(database, make_job, *one), *one) for one in pictures]
    kept_settings = Settings(keep_days=keep_days, keep_gb=keep_mb / 1000)
    await RetentionWorker(database, blobs, kept_settings, no_workflows).run_once()
    kept = [one for one in made if is_kept(database, one[0])]
    protected = [one for one in made if one[1] in PROTECTED]
    assert {one[0] for one in protected} <= {one[0] for one in kept}
    others = [one for one in kept if one not in protected]
    assert not keep_days or all(age_days <= keep_days for _, _, age_days, _ in others)
    if keep_mb and others:
        assert sum(size_bytes for *_, size_bytes in kept) <= keep_mb * MB
