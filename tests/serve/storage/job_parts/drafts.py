"""Jobs that wait, and what their clients ask for, as tests of the queue record them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import update

from serve.storage.database import Database
from serve.storage.job_parts.choice import Choice
from serve.storage.job_parts.parts import FIRST
from serve.storage.records import JobIdentity, NewJob, OpenLimits, utc_now
from serve.storage.schema.tables import images, jobs
from serve.storage.waiting_store import ContinuedJob, RedoneJob
from tests.serve.recorded_jobs import add, record_step, start

DAY: Final = timedelta(hours=24)
LIMITS: Final = OpenLimits(total=10, per_user=10)


def drafted(database: Database, job: NewJob) -> str:
    """Bring a job to its stop; returns its id."""
    add(database, job)
    start(database, job.id)
    record_step(database, job.id, "c", 5, 20)
    assert rested(database, job.id)
    return job.id


def rested(database: Database, job_id: str, part: str = FIRST) -> bool:
    """Let a job have its compositions and wait; False if it is not open or in another part."""
    drawn = images.c.job_id == job_id, images.c.preview.is_(None)
    with database.writing() as connection:
        connection.execute(update(images).where(*drawn).values(preview="a preview"))
    return database.waiting.begin(job_id, DAY, part)


def chosen(job: NewJob, *indices: int, key: str = "k", **changes: Any) -> ContinuedJob:
    identity = JobIdentity("01", key, f"{indices} {changes}")
    choice = Choice(indices or (0,), utc_now(), changes)
    return ContinuedJob(job.id, job.owner, choice, identity, 2.0, ["b", "a"])


def redone(job: NewJob, *indices: int, key: str = "r") -> RedoneJob:
    identity = JobIdentity("01", key, f"redo {indices}")
    latent_ids = {index: f"{key}{job.id}-{index}" for index in indices or (0,)}
    return RedoneJob(job.id, job.owner, latent_ids, identity, 2.0, ["c"])


def types(database: Database, job_id: str) -> list[str]:
    return [event.type for event in database.events.of_job(job_id)]


def set_columns(database: Database, job_id: str, **values: Any) -> None:
    with database.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
