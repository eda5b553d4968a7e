"""Streams of events: nothing is lost, whether they start late, are slow, or lose the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.gateway.events.event_hub import EventHub
from serve.gateway.events.streams import CallerStream
from serve.storage.database import Database
from serve.storage.events import EventLog
from serve.storage.job_queries import JobQueries
from serve.storage.lineage import Viewpoint
from serve.storage.records import EventRow, JobOwner, NewJob
from tests.limits import HANG_S
from tests.serve.recorded_jobs import add, record_step
from tests.serve.waiting import until

JobMaker = Callable[..., NewJob]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """After which event of which jobs each read of the database began."""
    reads: list[dict[str, int]] = []
    of_jobs = EventLog.of_jobs

    def noted(log: EventLog, after_ids: Mapping[str, int], limit: int) -> list[EventRow]:
        reads.append(dict(after_ids))
        return of_jobs(log, after_ids, limit)

    monkeypatch.setattr(EventLog, "of_jobs", noted)
    return reads


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
        await asyncio.to_thread(record_step, database, job.id, "c", step, 100, 0)
        if step % 12 == 0:
            readers.append(asyncio.create_task(follow(hub, job.id)))
    database.jobs.finish(job.id, "succeeded")
    async with asyncio.timeout(HANG_S):
        seen = await asyncio.gather(*readers)
    everything = database.events.of_job(job.id)
    assert len(everything) == 102
    assert all(events == everything for events in seen)
    await hub.close()


async def test_a_slow_client_misses_nothing_and_keeps_little_in_memory(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read for it while much waits, and everything once it goes on."""
    monkeypatch.setattr("serve.gateway.events.event_hub._BATCH", 10)
    monkeypatch.setattr("serve.gateway.events.streams.MAX_WAITING", 5)
    job = make_job()
    database.jobs.insert(job)
    hub = EventHub(database, poll_s=0.001)
    slow, quick = hub.follow(job.id), hub.follow(job.id)
    for stream in (slow, quick):
        assert (await anext(stream)).type == "queued"
    async with asyncio.timeout(HANG_S):
        for step in range(1, 61):
            await asyncio.to_thread(record_step, database, job.id, "c", step, 60, 0)
            assert (await anext(quick)).data["step"] == step
            assert all(one.waiting.qsize() < 5 + 10 for one in hub._streams[job.id])
        database.jobs.finish(job.id, "succeeded")
        assert (await anext(quick)).type == "succeeded"
        rest = [event async for event in slow]
    assert [event.data.get("step") for event in rest] == [*range(1, 61), None]
    await quick.aclose()
    await hub.close()


async def test_streams_of_one_job_that_start_at_different_events_each_get_the_rest(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.jobs.insert(job)
    for step in range(1, 11):
        record_step(database, job.id, "c", step, 10, 0)
    everything = database.events.of_job(job.id)
    hub = EventHub(database, poll_s=0.001)
    starts = [0, everything[9].id, everything[4].id]
    readers = [asyncio.create_task(follow(hub, job.id, start)) for start in starts]
    await until(lambda: len(hub._streams.get(job.id, ())) == 3)
    database.jobs.finish(job.id, "succeeded")
    everything = database.events.of_job(job.id)
    async with asyncio.timeout(HANG_S):
        seen = await asyncio.gather(*readers)
    assert seen == [everything, everything[10:], everything[5:]]
    await hub.close()


async def test_only_the_jobs_that_are_named_are_read(
    database: Database, make_job: JobMaker, reads: list[dict[str, int]]
) -> None:
    ids = [add(database, make_job()) for _ in range(3)]
    hub = EventHub(database, poll_s=3600.0)
    streams = [hub.follow(job_id) for job_id in ids[:2]]
    for stream in streams:
        assert (await anext(stream)).type == "queued"
    reads.clear()
    for job_id in ids:
        database.jobs.finish(job_id, "succeeded")
    hub.notify(ids[1:])
    async with asyncio.timeout(HANG_S):
        assert (await anext(streams[1])).type == "succeeded"
    assert [list(after_ids) for after_ids in reads] == [[ids[1]]]
    for stream in streams:
        await stream.aclose()
    await hub.close()


async def test_a_hub_that_no_stream_is_open_at_does_nothing_when_notified(
    database: Database, make_job: JobMaker, reads: list[dict[str, int]]
) -> None:
    ended, other = make_job(), make_job()
    for job in (ended, other):
        database.jobs.insert(job)
    database.jobs.finish(ended.id, "succeeded")
    hub = EventHub(database, poll_s=3600.0)
    async with asyncio.timeout(HANG_S):
        await follow(hub, ended.id)
    await until(lambda: hub._reader is None)
    reads.clear()
    hub.notify([ended.id, other.id])
    assert hub._reader is None
    assert reads == []


async def test_a_job_that_was_not_named_is_read_at_the_next_poll_while_others_are_named(
    database: Database, make_job: JobMaker
) -> None:
    job, busy = make_job(), make_job()
    for one in (job, busy):
        database.jobs.insert(one)
    hub = EventHub(database, poll_s=0.05)
    following = [asyncio.create_task(follow(hub, one.id)) for one in (job, busy)]
    await until(lambda: len(hub._streams) == 2)
    database.jobs.finish(job.id, "succeeded")

    async def name_the_other() -> None:
        while not following[0].done():
            hub.notify([busy.id])
            await asyncio.sleep(0)

    async with asyncio.timeout(HANG_S):
        await name_the_other()
    database.jobs.finish(busy.id, "succeeded")
    async with asyncio.timeout(HANG_S):
        await following[1]
    await hub.close()


async def test_a_database_that_fails_for_a_while_only_delays(
    database: Database,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("serve.gateway.events.event_hub._RETRY_S", 0.01)
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


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Collection[str | None]]:
    """The API keys whose new jobs each look was for."""
    looks: list[Collection[str | None]] = []
    owners_of_begun = JobQueries.owners_of_begun

    def noted(
        queries: JobQueries, key_ids: Collection[str | None], first_id: str
    ) -> dict[str, JobOwner]:
        looks.append(key_ids)
        return owners_of_begun(queries, key_ids, first_id)

    monkeypatch.setattr(JobQueries, "owners_of_begun", noted)
    return looks


async def test_a_thousand_streams_of_callers_cost_one_query_a_look(
    database: Database,
    make_job: JobMaker,
    reads: list[dict[str, int]],
    looks: list[Collection[str | None]],
) -> None:
    hub = EventHub(database, poll_s=3600.0)
    watched: list[str] = []

    async def first_event(number: int) -> EventRow:
        stream = CallerStream(Viewpoint(None, f"u{number % 100}"), watched.append)
        async with hub.joined(stream):
            return await hub.next_event(stream)

    following = [asyncio.create_task(first_event(number)) for number in range(1000)]
    await until(lambda: sum(stream.has_joined.is_set() for stream in hub._callers) == 1000)
    assert len(looks) == 1
    assert reads == []
    job_id = add(database, make_job(user="u7"))
    hub.notify_of_new_job()
    async with asyncio.timeout(HANG_S):
        told = await asyncio.gather(*following[7::100])
    assert {(event.job_id, event.type) for event in told} == {(job_id, "queued")}
    assert watched == [job_id] * 10
    assert len(looks) == 2
    assert reads == [{job_id: 0}]
    assert sum(task.done() for task in following) == 10
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    await until(lambda: hub._reader is None)
    assert not hub._streams
    assert not hub._callers


async def test_a_slow_caller_misses_nothing_and_keeps_little_in_memory(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.gateway.events.event_hub._BATCH", 10)
    monkeypatch.setattr("serve.gateway.events.streams.MAX_WAITING", 5)
    hub = EventHub(database, poll_s=0.001)
    slow, quick = (CallerStream(Viewpoint(None, None), lambda job_id: None) for _ in range(2))
    async with hub.joined(slow), hub.joined(quick), asyncio.timeout(HANG_S):
        ids = [add(database, make_job()) for _ in range(40)]
        for _ in ids:
            assert (await hub.next_event(quick)).type == "queued"
            assert slow.waiting.qsize() < 5 + 10
        for job_id in ids:
            database.jobs.finish(job_id, "succeeded")
        for _ in ids:
            assert (await hub.next_event(quick)).type == "succeeded"
            assert slow.waiting.qsize() < 5 + 10
        seen = [await hub.next_event(slow) for _ in range(80)]
    for job_id in ids:
        of_job = [event.type for event in seen if event.job_id == job_id]
        assert of_job == ["queued", "succeeded"]
    await until(lambda: hub._reader is None)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 1), st.just(0)),
            st.tuples(st.just("open"), st.integers(0, 1), st.integers(0, 12)),
            st.tuples(st.just("take"), st.integers(0, 5), st.integers(1, 9)),
        ),
        max_size=30,
    )
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_stream_gets_every_event_after_its_start_once_and_in_order(
    database: Database,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[str, int, int]],
) -> None:
    """Whatever is appended, opened and read slowly in whatever order."""
    monkeypatch.setattr("serve.gateway.events.event_hub._BATCH", 3)
    monkeypatch.setattr("serve.gateway.events.streams.MAX_WAITING", 2)
    job_ids = [add(database, make_job()) for _ in range(2)]
    asyncio.run(_play(database, job_ids, steps))


async def _play(database: Database, job_ids: list[str], steps: list[tuple[str, int, int]]) -> None:
    hub = EventHub(database, poll_s=3600.0)
    opened: list[tuple[str, int, AsyncGenerator[EventRow], list[EventRow]]] = []
    for action, which, number in steps:
        if action == "append":
            record_step(database, job_ids[which], "c", 1, 2, 0)
            hub.notify([job_ids[which]])
        elif action == "open":
            stored = database.events.of_job(job_ids[which])
            after_id = 0 if number == 0 else stored[min(number, len(stored)) - 1].id
            opened.append((job_ids[which], after_id, hub.follow(job_ids[which], after_id), []))
        elif opened:
            job_id, after_id, stream, seen = opened[which % len(opened)]
            left = len(database.events.of_job(job_id, after_id)) - len(seen)
            async with asyncio.timeout(HANG_S):
                seen += [await anext(stream) for _ in range(min(number, left))]
    for job_id in job_ids:
        database.jobs.finish(job_id, "succeeded")
    hub.notify(job_ids)
    async with asyncio.timeout(HANG_S):
        for job_id, after_id, stream, seen in opened:
            seen += [event async for event in stream]
            assert seen == database.events.of_job(job_id, after_id)
    await hub.close()
