"""Streams of events: nothing is lost, whether they start late, are slow, or lose the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from serve.gateway.event_hub import EventHub
from serve.storage.database import Database
from serve.storage.records import EventRow, NewJob
from tests.limits import HANG_S
from tests.serve.waiting import until

JobMaker = Callable[..., NewJob]


async def follow(hub: EventHub, job_id: str, after_id: int = 0) -> list[EventRow]:
    return [event async for event in hub.follow(job_id, after_id)]


async def test_nothing_is_lost_or_repeated_while_a_stream_starts(
    database: Database, make_job: JobMaker
) -> None:
    """Events keep coming while streams go over from the stored events to the live ones."""
    job = make_job()
    database.jobs.insert(job)
    hub = EventHub(database, poll_s=0.001)

    readers = []
    for step in range(1, 101):
        await asyncio.to_thread(database.jobs.record_progress, job.id, "c", step, 100, 0)
        if step % 12 == 0:
            readers.append(asyncio.create_task(follow(hub, job.id)))
    database.jobs.finish(job.id, "succeeded")
    async with asyncio.timeout(HANG_S):
        seen = await asyncio.gather(*readers)
    everything = database.events.of_job(job.id)
    assert len(everything) == 102
    assert all(events == everything for events in seen)
    await hub.close()


async def test_a_slow_client_misses_nothing(database: Database, make_job: JobMaker) -> None:
    """More happens than a stream keeps waiting; the rest is read again from the database."""
    job = make_job()
    database.jobs.insert(job)
    hub = EventHub(database, poll_s=0.001)
    stream = hub.follow(job.id)
    assert (await anext(stream)).type == "queued"
    database.jobs.record_progress(job.id, "c", 1, 2000, 0)
    assert (await anext(stream)).data["step"] == 1  # live from here on
    for step in range(2, 1202):
        database.jobs.record_progress(job.id, "c", step, 2000, 0)
    last_id = database.events.last_id()
    waiting = next(iter(hub._streams[job.id]))
    await until(lambda: None in waiting._waiting._queue)  # type: ignore[attr-defined]
    database.jobs.finish(job.id, "succeeded")
    async with asyncio.timeout(HANG_S):
        rest = [event async for event in stream]
    assert [event.data.get("step") for event in rest] == [*range(2, 1202), None]
    assert rest[-1].id == last_id + 1
    await hub.close()


async def test_a_database_that_fails_for_a_while_only_delays(
    database: Database,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("serve.gateway.event_hub._RETRY_S", 0.01)
    job = make_job()
    database.jobs.insert(job)
    hub = EventHub(database, poll_s=0.001)
    stream = hub.follow(job.id)
    await anext(stream)
    with database._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE events RENAME TO moved")
    await until(lambda: "reading events failed; trying again" in caplog.messages)
    with database._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE moved RENAME TO events")
    database.jobs.finish(job.id, "succeeded")
    async with asyncio.timeout(HANG_S):
        assert [event.type async for event in stream] == ["succeeded"]
    await hub.close()
