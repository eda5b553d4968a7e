"""What a client should know about its job although the job goes on."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, update

from serve.storage.database import Database
from serve.storage.schema.tables import jobs


def add_warnings(database: Database, job_id: str, texts: Iterable[str]) -> None:
    """Add sentences to a job's warnings, each once: stages and images may repeat themselves."""
    query = select(jobs.c.warnings).where(jobs.c.id == job_id).with_for_update()
    with database.writing() as connection:
        known: list[str] = connection.execute(query).scalar_one()
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            change = update(jobs).where(jobs.c.id == job_id)
            connection.execute(change.values(warnings=known + new))


def copy_warnings(database: Database, from_id: str, job_id: str) -> None:
    """Give a job the warnings of one whose work it uses; of one that is gone, none."""
    earlier = database.job(from_id)
    if earlier is not None and earlier.warnings:
        add_warnings(database, job_id, earlier.warnings)
