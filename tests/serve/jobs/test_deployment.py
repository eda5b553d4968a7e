"""A job that is recorded is accepted, also where the workflow engine cannot start it now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from serve.gateway.event_hub import EventHub
from serve.jobs.deployment import Jobs
from serve.jobs.recovery import start_orphaned
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.limits import HANG_S
from tests.serve.null_stages import Stage, launched


async def test_a_job_that_the_engine_cannot_start_is_accepted_and_started_later(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: Callable[..., NewJob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.jobs.recovery.ORPHANED_AFTER", timedelta())
    job, stages = make_job(), {name: Stage(name) for name in ("c", "b", "a")}
    async with launched(database, database_url, blobs, stages) as workflow:
        jobs = object.__new__(Jobs)  # its constructor needs a replica of Ray Serve
        jobs._database, jobs._workflow, jobs._limits = database, workflow, None
        jobs._accepting = ThreadPoolExecutor(1)
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE workflow_status RENAME TO away"))
        assert await jobs._accept(job) == job.id
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO workflow_status"))
        async with asyncio.timeout(HANG_S):
            await start_orphaned(database, jobs._start)
            await EventHub(database).wait_until_ended(job.id, HANG_S)
        engine.dispose()
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert ended.state == "succeeded"
