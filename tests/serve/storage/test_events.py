"""A job's stored events, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.serve.recorded_jobs import add

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def test_events_resume_after_an_id(database: Database, make_job: JobMaker) -> None:
    first, second = add(database, make_job()), add(database, make_job())
    for step in range(1, 4):
        database.jobs.record_progress(first, "c", step, 3, 0)
        database.jobs.record_progress(second, "c", step, 3, 0)
    seen = database.events.of_job(first)
    assert [event.type for event in seen] == ["queued", "progress", "progress", "progress"]
    assert database.events.of_job(first, after_id=seen[1].id) == seen[2:]
    assert database.events.of_job(first, limit=2) == seen[:2]
    everything = database.events.since(0)
    assert len(everything) == 8
    assert everything[-1].id == database.events.last_id()
    assert database.events.since(everything[5].id) == everything[6:]
    assert seen[0].at.utcoffset() == timedelta(0)
