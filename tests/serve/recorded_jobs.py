"""Jobs in a database, for tests of what it tells of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from serve.storage.database import Database
from serve.storage.records import NewJob, ProgressStep
from serve.storage.schema import tables


def add(database: Database, job: NewJob) -> str:
    """Record a job; returns its id."""
    database.jobs.insert(job)
    return job.id


def add_newer(database: Database, job: NewJob, **changes: Any) -> str:
    """Record a job as a later release does, with changes of its request; returns its id."""
    database.jobs.insert(job)
    make_newer(database, job, **changes)
    return job.id


def make_newer(database: Database, job: NewJob, **changes: Any) -> None:
    """Change the request of a recorded job, and its latents, into one of a later release."""
    request, of_job = job.request.to_dict() | changes, tables.latents.c.job_id == job.id
    values = {"request": request, "kind": request["kind"], "release": "99.0"}
    with database.writing() as connection:
        connection.execute(update(tables.jobs).where(tables.jobs.c.id == job.id).values(**values))
        connection.execute(update(tables.latents).where(of_job).values(request=request))


def start(database: Database, job_id: str) -> None:
    """Let a job run."""
    assert not database.jobs.record_progress([], {job_id: 0.0}, {}), "its row is locked"


def record_step(
    database: Database,
    job_id: str,
    stage: str,
    step: int,
    steps: int,
    index: int = 0,
    preview_key: str | None = None,
) -> None:
    """Record a step of an image."""
    told = ProgressStep(job_id, index, stage, step, steps, preview_key)
    assert not database.jobs.record_progress([told], {}, {}), "its row is locked"


def body(database: Database, job_id: str) -> dict[str, Any]:
    """Return a job as clients see it."""
    job = database.jobs.get(job_id)
    assert job is not None
    return job.to_json()


def finished_after(database: Database, job_id: str, seconds: float) -> None:
    """Let a job have run this long, as if the clock had moved."""
    start(database, job_id)
    database.jobs.finish(job_id, "succeeded")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    times = {"started_at": begin, "finished_at": begin + timedelta(seconds=seconds)}
    with database._engine.begin() as connection:
        change = update(tables.jobs).where(tables.jobs.c.id == job_id)
        connection.execute(change.values(**times))


def copy(database: Database, job_id: str, count: int) -> None:
    """Copy a job's row; the copies are next in age to it, and of its state and user."""
    query = select(tables.jobs).where(tables.jobs.c.id == job_id)
    with database._engine.begin() as connection:
        row = dict(connection.execute(query).mappings().one())
        copies = [row | {"id": f"{job_id}-{number:05}"} for number in range(count)]
        connection.execute(insert(tables.jobs), copies)
