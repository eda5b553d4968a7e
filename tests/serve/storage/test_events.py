"""A job's stored events, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from operator import attrgetter
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, text
from sqlalchemy.event import listen

from cascade_core.errors import NotReady
from serve.gateway.events.event_hub import EventHub
from serve.storage.database import Database
from serve.storage.events import append_event
from serve.storage.job_store import update_open
from serve.storage.records import NewJob, ProgressStep, utc_now
from serve.storage.schema.tables import events
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.events.test_caller_events import create, following, told
from tests.serve.recorded_jobs import add, record_step

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def test_events_resume_after_an_id(database: Database, make_job: JobMaker) -> None:
    first, second = add(database, make_job()), add(database, make_job())
    for step in range(1, 4):
        record_step(database, first, "c", step, 3, 0)
        record_step(database, second, "c", step, 3, 0)
    seen = database.events.of_job(first)
    assert [event.type for event in seen] == ["queued", "progress", "progress", "progress"]
    assert database.events.of_job(first, after_id=seen[1].id) == seen[2:]
    assert database.events.of_job(first, limit=2) == seen[:2]
    of_both = database.events.of_jobs({first: seen[2].id, second: 0}, 100)
    assert of_both == sorted(seen[3:] + database.events.of_job(second), key=attrgetter("id"))
    assert database.events.of_jobs({first: seen[2].id, second: 0}, 2) == of_both[:2]
    assert database.events.of_jobs({"unknown": 0}, 100) == []
    assert seen[0].at.utcoffset() == timedelta(0)


def test_the_time_of_an_event_that_is_not_kept_is_that_of_the_last_one_before_it(
    database: Database, make_job: JobMaker
) -> None:
    assert (database.events.last_id(), database.events.time_of(5)) == (0, None)
    job_id = add(database, make_job())
    record_step(database, job_id, "c", 1, 3)
    first, last = database.events.of_job(job_id)
    assert database.events.last_id() == last.id
    assert database.events.time_of(first.id) == first.at
    assert database.events.time_of(last.id + 7) == last.at
    assert database.events.time_of(first.id - 1) is None


async def test_the_stream_of_all_jobs_tells_what_happens_and_resumes(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async with following(live_client) as events:
        await events.shown_jobs()
        job_id = await create(live_client)
        await fake_jobs.run(job_id)
        seen = await events.until("succeeded")
        assert told(seen, job_id) == ["queued", "image", "succeeded"]
    queued, ended = await create(live_client), await create(live_client)
    await fake_jobs.run(ended)
    async with following(live_client, events.last_event_id) as resumed:
        states = {job_id: "succeeded", queued: "queued", ended: "succeeded"}
        assert await resumed.shown_jobs() == states
        fake_jobs.finish(queued, "cancelled")
        assert told(await resumed.until("cancelled"), queued) == ["cancelled"]


@pytest.fixture
def postgresql(new_database_url: Callable[[str], str]) -> Iterator[Database]:
    """A second writer of a row waits for a tenth of a second."""
    url = new_database_url("postgresql") + "&options=-c%20lock_timeout=100ms"
    database = Database(url)
    database.create_tables()
    yield database
    database.close()


async def test_events_that_become_visible_in_another_order_than_their_ids_all_arrive(
    postgresql: Database, make_job: JobMaker
) -> None:
    """Two jobs' transactions overlap: the one with the higher id is committed first."""
    early, late = add(postgresql, make_job()), add(postgresql, make_job())
    hub = EventHub(postgresql, poll_s=0.01)
    streams = [hub.follow(job_id) for job_id in (early, late)]
    async with asyncio.timeout(HANG_S):
        for stream in streams:
            assert (await anext(stream)).type == "queued"
        with postgresql.writing() as connection:
            assert update_open(connection, early, {})
            append_event(connection, early, "progress", {"step": 1})
            postgresql.jobs.finish(late, "succeeded")  # waits for no lock
            last = await anext(streams[1])
        first = await anext(streams[0])
    assert (first.type, last.type) == ("progress", "succeeded")
    assert first.id < last.id
    for stream in streams:
        await stream.aclose()
    await hub.close()


async def test_an_id_that_was_rolled_back_holds_up_nothing(
    postgresql: Database, make_job: JobMaker
) -> None:
    job_id = add(postgresql, make_job())
    with postgresql.writing() as connection:
        assert update_open(connection, job_id, {})
        append_event(connection, job_id, "progress", {"step": 1})
        connection.rollback()
    postgresql.jobs.finish(job_id, "succeeded")
    hub = EventHub(postgresql)
    async with asyncio.timeout(HANG_S):
        seen = [event async for event in hub.follow(job_id)]
    assert [event.type for event in seen] == ["queued", "succeeded"]
    assert seen[1].id == seen[0].id + 2
    await hub.close()


WRITES: dict[str, Callable[[Database, str], object]] = {
    "image": lambda database, job_id: database.images.save(f"IMG{job_id}-0", 1, "a"),
    "end": lambda database, job_id: database.jobs.finish(job_id, "succeeded"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_job_has_one_writer_of_events_at_a_time(
    postgresql: Database, make_job: JobMaker, write: Callable[[Database, str], object]
) -> None:
    """So ids become visible in order within a job, and a reader passes none over."""
    job_id = add(postgresql, make_job())
    with postgresql.writing() as connection:
        assert update_open(connection, job_id, {})
        append_event(connection, job_id, "progress", {"step": 1})
        with pytest.raises(NotReady) as caught:
            write(postgresql, job_id)
        assert "lock timeout" in caught.value.reason
    write(postgresql, job_id)
    ids = [event.id for event in postgresql.events.of_job(job_id)]
    assert len(ids) == 3
    assert ids == sorted(ids)


def test_progress_is_not_appended_while_another_writer_appends(
    postgresql: Database, make_job: JobMaker
) -> None:
    job_id = add(postgresql, make_job())
    step = ProgressStep(job_id, 0, "c", 2, 9)
    with postgresql.writing() as connection:
        assert update_open(connection, job_id, {})
        append_event(connection, job_id, "progress", {"step": 1})
        assert postgresql.jobs.record_progress([step], {}, {}) == {job_id}
    assert postgresql.jobs.record_progress([step], {}, {}) == set()
    appended = postgresql.events.of_job(job_id)[1:]
    assert [event.data["step"] for event in appended] == [1, 2]


def test_the_events_of_followed_jobs_are_found_by_the_index(
    database: Database, make_job: JobMaker
) -> None:
    """However many events of other jobs there are."""
    job_id = add(database, make_job())
    many = [
        {"job_id": f"other{number % 1000}", "type": "progress", "data": {}, "at": utc_now()}
        for number in range(20_000)
    ]
    with database.writing() as connection:
        connection.execute(insert(events), many)
        connection.execute(text("ANALYZE"))
    statements: list[tuple[str, Any]] = []
    engine = database._engine
    listen(engine, "before_cursor_execute", lambda *args: statements.append((args[2], args[3])))
    database.events.of_jobs({job_id: 0, "other7": 0}, 1000)
    statement, values = next(one for one in statements if one[0].startswith("SELECT"))
    explain = "EXPLAIN " if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    with database.reading() as connection:
        plan = str(connection.exec_driver_sql(explain + statement, values).all())
    assert "events_by_job" in plan
    assert "SCAN events" not in plan
    assert "Seq Scan" not in plan
