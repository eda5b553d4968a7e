"""Replicas that died of a request, counted where no restart forgets them."""

from __future__ import annotations

from sqlalchemy import select, update

from serve.storage.database import Database
from serve.storage.schema.tables import jobs


def count_death(database: Database, job_id: str, call: str) -> int:
    """Note that a replica was lost while it had a job's call; returns how often that happened.

    Args:
        database: where the job is.
        job_id: of the job.
        call: names one of its calls, such as ``b0``.
    """
    # Several images of a job may lose their replicas at once; SQLite locks when it begins.
    query = select(jobs.c.deaths).where(jobs.c.id == job_id).with_for_update()
    with database.writing() as connection:
        counts = connection.execute(query).scalar() or {}
        counts = counts | {call: counts.get(call, 0) + 1}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(deaths=counts))
    count: int = counts[call]
    return count
