"""How many commits a job costs: each is a write to the disk that all jobs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import JobIdentity, NewJob
from tests.serve.null_stages import Stage, launched, run_to_end

JobMaker = Callable[..., NewJob]
WRITES = ("INSERT", "UPDATE", "DELETE")
COUNTED_ID = "the-job-that-is-counted"
"""In the parameters of what is written for the job; the workflow engine also writes for itself."""


@pytest.fixture
def commits() -> Iterator[list[str]]:
    """The tables that each committed transaction has written for the job, in both databases."""
    written: dict[Connection, list[tuple[str, str]]] = {}
    seen: list[str] = []

    def note(connection: Connection, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith(WRITES):
            verb, *words = statement.split()
            table = words[0 if verb == "UPDATE" else 1]
            written.setdefault(connection, []).append((table, str(values)))

    def commit(connection: Connection) -> None:
        statements = written.pop(connection, [])
        if any(COUNTED_ID in values for _, values in statements):
            seen.append(" ".join(table for table, _ in statements))

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", commit)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)
    event.remove(Engine, "commit", commit)


async def test_a_job_of_one_image_that_no_client_watches_costs_seven_commits(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    commits: list[str],
) -> None:
    job, watched_jobs = make_job(), WatchedJobs()
    job = replace(job, identity=JobIdentity(COUNTED_ID, None, "digest"))
    watched_jobs.exclude(job.id)
    stages = {name: Stage(name) for name in ("c", "b", "a")}
    launch = launched(database, database_url, blobs, stages, watched_jobs=watched_jobs)
    async with launch as workflow:
        assert (await run_to_end(workflow, database, job)).state == "succeeded"
    # Accepted, started by the engine, running, latent, picture, ended, ended by the engine.
    assert len(commits) == 7, commits
