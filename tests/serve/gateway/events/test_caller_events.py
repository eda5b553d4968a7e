"""One stream for all jobs of a caller: it begins with what is there, and misses nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
from fastapi import FastAPI
from ulid import ULID

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.request import GenerationRequest
from serve.gateway.events.event_hub import EventHub
from serve.storage.database import Database
from serve.storage.records import JobIdentity, JobOwner
from tests.limits import HANG_S
from tests.serve.conftest import Bearer, JobMaker
from tests.serve.fake_jobs_client import FakeJobsClient, plan
from tests.serve.gateway.test_outages import drop_tables
from tests.serve.recorded_jobs import add, record_step
from tests.serve.waiting import until

Event = tuple[str, dict[str, Any]]


@pytest.fixture
def checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """The model has a previewer: drafts need one."""
    return replace(checkpoint, previewer=tmp_path / "preview.json")


class Events:
    """What a client reads of its stream."""

    def __init__(self, source: httpx_sse.EventSource) -> None:
        self._received = source.aiter_sse()
        self.last_event_id = ""

    async def next(self) -> Event:
        async with asyncio.timeout(HANG_S):
            event = await anext(self._received)
        self.last_event_id = event.id or self.last_event_id
        return event.event, json.loads(event.data)

    async def until(self, *types: str) -> list[Event]:
        """Return all events up to the next one of each of these types, in that order."""
        seen: list[Event] = []
        for event_type in types:
            while not seen or seen[-1][0] != event_type:
                seen.append(await self.next())
        return seen

    async def shown_jobs(self) -> dict[str, str]:
        """Return the state of each job with which the stream begins, by id."""
        *shown, live = await self.until("live")
        assert live == ("live", {})
        assert {event_type for event_type, _ in shown} <= {"job"}
        assert all(data["job"]["id"] == data["job_id"] for _, data in shown)
        return {data["job_id"]: data["job"]["state"] for _, data in shown}


@asynccontextmanager
async def following(
    client: httpx.AsyncClient,
    last_event_id: str = "",
    headers: dict[str, str] | None = None,
    **query: str,
) -> AsyncIterator[Events]:
    sent = (headers or {}) | ({"last-event-id": last_event_id} if last_event_id else {})
    connect = httpx_sse.aconnect_sse(client, "GET", "/v1/events", headers=sent, params=query)
    async with connect as source:
        source.response.raise_for_status()
        yield Events(source)


async def create(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any
) -> str:
    answer = await client.post("/v1/jobs", json={"prompt": "x"} | body, headers=headers)
    job_id: str = answer.raise_for_status().json()["id"]
    return job_id


def told(seen: list[Event], job_id: str) -> list[str]:
    """Return the types of a job's events, without its steps."""
    of_job = [event_type for event_type, data in seen if data["job_id"] == job_id]
    return [event_type for event_type in of_job if event_type != "progress"]


async def test_a_job_that_begins_later_is_told_whole(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async with following(live_client) as events:
        assert await events.shown_jobs() == {}
        job_id = await create(live_client)
        assert await events.next() == ("queued", {"job_id": job_id, "position": 0, "eta_s": None})
        await fake_jobs.show_preview(job_id, "c", 5)
        url = f"/v1/jobs/{job_id}/previews/0-c-5.webp"
        step = {"stage": "c", "step": 5, "steps": 12, "index": 0, "preview_url": url}
        assert await events.next() == ("progress", {"job_id": job_id, **step})
        assert (await live_client.get(url)).status_code == 200
        await fake_jobs.run(job_id)
        seen = await events.until("image", "succeeded")
    assert told(seen, job_id) == ["image", "succeeded"]
    (_, image), (_, last) = seen[-2:]
    assert (await live_client.get(image["url"])).status_code == 200
    job = (await live_client.get(f"/v1/jobs/{job_id}")).json()
    assert last == {"job_id": job_id, "job": job}


async def test_jobs_of_other_gateways_are_told_too(
    live_client: httpx.AsyncClient, database: Database, make_job: JobMaker
) -> None:
    async with following(live_client) as events:
        await events.shown_jobs()
        job_id = add(database, make_job())
        assert told([await events.next()], job_id) == ["queued"]
        database.jobs.finish(job_id, "cancelled")
        assert told([await events.next()], job_id) == ["cancelled"]


async def test_a_job_that_begins_and_ends_between_two_looks_is_told(
    live_client: httpx.AsyncClient,
    app: FastAPI,
    database: Database,
    make_request: Callable[..., GenerationRequest],
) -> None:
    hub = app.state.services.event_hub = EventHub(database, poll_s=3600.0)
    async with following(live_client) as events:
        await events.shown_jobs()
        identity = JobIdentity(str(ULID()), None, "digest")
        job_id = add(database, plan(identity, make_request(), None, JobOwner(None, None)))
        database.jobs.finish(job_id, "cancelled")
        for _ in range(2):  # a second look finds nothing new
            hub.notify_of_new_job()
        assert told([await events.next(), await events.next()], job_id) == ["queued", "cancelled"]
        hub.notify_of_new_job()
        later = await create(live_client)
        assert told([await events.next()], later) == ["queued"]


async def test_it_begins_with_the_jobs_that_have_not_ended_and_tells_no_history(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.gateway.events.caller_events._JOBS_PER_READ", 2)
    ended, queued, running = [await create(live_client) for _ in range(3)]
    waiting = await create(live_client, stop_after="c", client_state={"mine": 1})
    last = await create(live_client)
    await fake_jobs.run(ended)
    await fake_jobs.make_image(running)
    await fake_jobs.draft(waiting)
    async with following(live_client) as events:
        shown = (await events.until("live"))[:-1]
        states = {data["job_id"]: data["job"]["state"] for _, data in shown}
        assert states == {queued: "queued", running: "running", waiting: "waiting", last: "queued"}
        shown_job = next(data["job"] for _, data in shown if data["job_id"] == waiting)
        assert shown_job == (await live_client.get(f"/v1/jobs/{waiting}")).json()
        fake_jobs.finish(running, "succeeded")
        assert (await events.next())[0] == "succeeded"


async def test_a_broken_stream_resumes_with_what_happened_meanwhile(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    before, through, later = [await create(live_client) for _ in range(3)]
    async with following(live_client) as events:
        assert len(await events.shown_jobs()) == 3
        fake_jobs.finish(before, "failed")
        await events.until("failed")
    await fake_jobs.run(through)
    between = await create(live_client)
    fake_jobs.finish(between, "cancelled")
    async with following(live_client, events.last_event_id) as resumed:
        shown = await resumed.shown_jobs()
        # What ended just before the last event that came may be shown again.
        assert shown.pop(before) == "failed"
        assert shown == {through: "succeeded", later: "queued", between: "cancelled"}
        fake_jobs.finish(later, "succeeded")
        assert (await resumed.next())[0] == "succeeded"


async def test_a_stream_that_told_nothing_but_that_it_is_live_can_be_resumed(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async with following(live_client) as events:
        await events.shown_jobs()
    assert events.last_event_id == "0"
    job_id = await create(live_client)
    await fake_jobs.run(job_id)
    async with following(live_client, events.last_event_id) as resumed:
        assert await resumed.shown_jobs() == {job_id: "succeeded"}
    async with following(live_client) as new:
        assert await new.shown_jobs() == {}


async def test_of_the_jobs_that_ended_meanwhile_the_newest_are_shown(
    live_client: httpx.AsyncClient,
    database: Database,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.storage.job_queries.MAX_ENDED_SHOWN", 2)
    ids = [add(database, make_job()) for _ in range(5)]
    for job_id in ids[1:]:
        database.jobs.finish(job_id, "cancelled")
    async with following(live_client, "0") as events:
        assert list(await events.shown_jobs()) == [ids[0], *ids[3:]]


async def test_a_waiting_job_goes_on_in_the_same_stream(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = await create(live_client, n=2, stop_after="c")
    async with following(live_client) as events:
        await events.shown_jobs()
        await fake_jobs.draft(job_id)
        seen = await events.until("waiting")
        await live_client.post(f"/v1/jobs/{job_id}/continue", json={"indices": [1]})
        seen += await events.until("queued")
        await fake_jobs.make_image(job_id, 1)
        fake_jobs.finish(job_id, "succeeded")
        seen += await events.until("succeeded")
    assert told(seen, job_id) == ["waiting", "queued", "image", "succeeded"]


async def test_each_caller_sees_the_jobs_that_its_lists_show(
    live_client: httpx.AsyncClient, bearer: Bearer, database: Database
) -> None:
    ann, root = bearer("create", "read"), bearer("admin")
    bot = bearer("create", "read", "trusted")

    async def create_for_all() -> list[str]:
        of_bot = [await create(live_client, bot, user=user) for user in ("u2", "u1")]
        return [*of_bot, await create(live_client, ann, user="u1")]

    async with AsyncExitStack() as stack:
        callers: dict[str, tuple[dict[str, str], dict[str, str], list[int]]] = {
            "ann": (ann, {}, [2]),
            "bot": (bot, {}, [0, 1]),
            "bot for u1": (bot, {"user": "u1"}, [1]),
            "root": (root, {}, [0, 1, 2]),
            "root for u1": (root, {"user": "u1"}, [1]),
        }
        earlier, streams = await create_for_all(), {}
        for name, (headers, query, visible) in callers.items():
            connect = following(live_client, headers=headers, **query)
            streams[name] = await stack.enter_async_context(connect)
            shown = await streams[name].shown_jobs()
            assert shown.keys() == {earlier[i] for i in visible}, name
        later = await create_for_all()
        for name, (_, _, visible) in callers.items():
            seen = [await streams[name].next() for _ in visible]
            assert {data["job_id"] for _, data in seen} == {later[i] for i in visible}, name
        for job_id in [*earlier, *later]:
            database.jobs.finish(job_id, "cancelled")
        for name, (_, _, visible) in callers.items():
            seen = [await streams[name].next() for _ in visible * 2]
            both = {ids[i] for ids in (earlier, later) for i in visible}
            assert {data["job_id"] for _, data in seen} == both, name


async def test_a_plain_key_cannot_act_for_a_user(client: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await client.get("/v1/events", params={"user": "u1"}, headers=bearer("read"))
    assert answer.status_code == 403


async def test_open_jobs_are_watched_and_those_that_begin(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    async def wait() -> None:
        await live_client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": "wait=60"})

    posting = [asyncio.create_task(wait())]
    first = await submitted.get()
    assert fake_jobs.unwatched == {first}
    async with following(live_client) as events:
        await events.shown_jobs()
        assert fake_jobs.unwatched == set()
        posting.append(asyncio.create_task(wait()))
        second = await submitted.get()
        await events.until("queued")
        assert fake_jobs.unwatched == set()
        for job_id in (first, second):
            fake_jobs.finish(job_id, "cancelled")
    await asyncio.gather(*posting)


async def test_of_many_steps_few_are_told(
    live_client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.gateway.events.streams.PROGRESS_EVERY_S", 3600.0)
    job_id = await create(live_client)
    async with following(live_client) as events:
        await events.shown_jobs()
        for step in range(1, 30):
            record_step(database, job_id, "c", step, 30)
        seen = await events.until("progress")
        database.jobs.finish(job_id, "succeeded")
        seen += await events.until("succeeded")
    assert [event_type for event_type, _ in seen] == ["progress", "succeeded"]


async def test_a_dozen_streams_of_one_caller_tell_the_same(
    live_client: httpx.AsyncClient, app: FastAPI, fake_jobs: FakeJobsClient
) -> None:
    async with AsyncExitStack() as stack:
        connected = [await stack.enter_async_context(following(live_client)) for _ in range(12)]
        for events in connected:
            await events.shown_jobs()
        assert app.state.services.stream_limiter.count == 12
        job_id = await create(live_client)
        await fake_jobs.run(job_id)
        for events in connected:
            seen = await events.until("succeeded")
            assert told(seen, job_id) == ["queued", "image", "succeeded"]
    await until(lambda: app.state.services.stream_limiter.count == 0)
    hub: EventHub = app.state.services.event_hub
    await until(lambda: hub._reader is None)
    assert not hub._streams
    assert not hub._callers


@pytest.mark.parametrize("table", ["events", "jobs"])
async def test_an_outage_of_the_database_only_delays(
    live_client: httpx.AsyncClient,
    database: Database,
    fake_jobs: FakeJobsClient,
    table: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.gateway.events.event_hub._RETRY_S", 0.01)
    job_id = await create(live_client)
    async with following(live_client) as events:
        await events.shown_jobs()
        with database._engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO moved")
        await until(lambda: "reading events failed; trying again" in caplog.messages)
        with database._engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE moved RENAME TO {table}")
        fake_jobs.finish(job_id, "succeeded")
        later = await create(live_client)
        seen = [await events.next(), await events.next()]
        assert told(seen, later) == ["queued"]
        assert told(seen, job_id) == ["succeeded"]


async def test_without_the_database_it_does_not_begin(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 1e9)
    assert (await client.get("/v1/jobs")).status_code == 200  # the keys are known
    drop_tables(database)
    answer = await client.get("/v1/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")


@pytest.mark.parametrize("last_event_id", ["x", "-1", "9" * 19])
async def test_an_event_id_that_is_none_is_400(
    client: httpx.AsyncClient, last_event_id: str
) -> None:
    answer = await client.get("/v1/events", headers={"last-event-id": last_event_id})
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "Last-Event-ID"
