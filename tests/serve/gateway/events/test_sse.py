"""A job's events as a stream over HTTP: complete, in order, and resumed where it broke."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import httpx_sse
import pytest
from fastapi import FastAPI

from serve.gateway.events.event_hub import EventHub
from serve.gateway.events.sse import event_body
from serve.storage.records import EventRow, utc_now
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.waiting import until


async def create(client: httpx.AsyncClient, **body: Any) -> str:
    answer = await client.post("/v1/jobs", json={"prompt": "a red circle"} | body)
    job_id: str = answer.json()["id"]
    return job_id


async def until_hub_rests(app: FastAPI) -> None:
    """Return when the hub follows no stream any more, and so has stopped reading."""
    hub: EventHub = app.state.services.event_hub
    await until(lambda: hub._reader is None)


async def read(
    client: httpx.AsyncClient, job_id: str, last_event_id: str = ""
) -> AsyncIterator[httpx_sse.ServerSentEvent]:
    headers = {"last-event-id": last_event_id} if last_event_id else {}
    path = f"/v1/jobs/{job_id}/events"
    async with httpx_sse.aconnect_sse(client, "GET", path, headers=headers) as source:
        async for event in source.aiter_sse():
            yield event


async def test_a_stream_tells_the_whole_job_in_order_and_ends(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = await create(live_client, n=2, client_state={"a": "\u2028\n"})
    seen: list[httpx_sse.ServerSentEvent] = []
    async for event in read(live_client, job_id):
        if not seen:  # the rest happens while the stream is open
            task = asyncio.create_task(fake_jobs.run(job_id))
        seen.append(event)
    await task
    assert [event.event for event in seen] == [
        "queued",
        "progress",
        "image",
        "progress",
        "image",
        "succeeded",
    ]
    assert json.loads(seen[0].data) == {"position": 0, "eta_s": None}
    assert json.loads(seen[1].data) == {
        "stage": "c",
        "step": 5,
        "steps": 12,
        "index": 0,
        "preview_url": f"/v1/jobs/{job_id}/previews/0-c-5.webp",
    }
    image = json.loads(seen[4].data)
    assert image["index"] == 1
    assert (await live_client.get(image["url"])).status_code == 200
    job = (await live_client.get(f"/v1/jobs/{job_id}")).json()
    del job["client_state"]  # what a client may take away later is in no event
    assert json.loads(seen[5].data) == {"job": job}
    ids = [int(event.id) for event in seen]
    assert ids == sorted(set(ids))


async def test_a_job_whose_client_only_waits_is_watched_once_its_events_are_followed(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    headers, body = {"prefer": "wait=60"}, {"prompt": "x"}
    waiting = asyncio.create_task(live_client.post("/v1/jobs", json=body, headers=headers))
    waited_id = await submitted.get()
    followed_id = await create(live_client)
    assert fake_jobs.unwatched == {waited_id}
    async with aclosing(read(live_client, waited_id)) as events:  # type: ignore[type-var]
        await anext(events)
        assert fake_jobs.unwatched == set()
    await fake_jobs.run(waited_id)
    assert (await waiting).json()["state"] == "succeeded"
    assert followed_id != waited_id


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_a_stream_ends_with_the_way_the_job_ended(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, state: Any
) -> None:
    job_id = await create(live_client)
    fake_jobs.finish(job_id, state)
    assert [event.event async for event in read(live_client, job_id)] == ["queued", state]


async def test_a_stream_that_starts_after_the_end_tells_everything(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = await create(live_client)
    await fake_jobs.run(job_id)
    seen = [event.event async for event in read(live_client, job_id)]
    assert seen == ["queued", "progress", "image", "succeeded"]


async def test_a_broken_stream_resumes_where_it_broke(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = await create(live_client)
    await fake_jobs.make_image(job_id)
    async with aclosing(read(live_client, job_id)) as events:  # type: ignore[type-var]
        first = [await anext(events), await anext(events)]
    fake_jobs.finish(job_id, "succeeded")
    rest = [event async for event in read(live_client, job_id, first[-1].id)]
    assert [event.event for event in first + rest] == ["queued", "progress", "image", "succeeded"]


async def test_resuming_after_the_last_event_tells_the_client_to_stop(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = await create(live_client)
    await fake_jobs.run(job_id)
    last = [event async for event in read(live_client, job_id)][-1]
    headers = {"last-event-id": last.id}
    answer = await live_client.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert answer.status_code == 204


@pytest.mark.parametrize("last_event_id", ["x", "-1", "1.5", "9" * 19, "1; DROP TABLE"])
async def test_an_event_id_that_is_none_is_400(
    client: httpx.AsyncClient, last_event_id: str
) -> None:
    job_id = await create(client)
    headers = {"last-event-id": last_event_id}
    answer = await client.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "Last-Event-ID"


async def until_pinged(client: httpx.AsyncClient, job_id: str) -> None:
    """Return after one keep-alive comment on a stream of its own."""
    async with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith(":"):
                return


async def test_an_idle_stream_is_kept_alive_by_comments(live_client: httpx.AsyncClient) -> None:
    job_id = await create(live_client)
    async with asyncio.timeout(HANG_S):
        await until_pinged(live_client, job_id)


async def test_keeping_alive_is_no_event_for_the_client(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = await create(live_client)
    seen = []
    async for event in read(live_client, job_id):
        seen.append(event.event)
        if seen == ["queued"]:
            await until_pinged(live_client, job_id)
            await until_pinged(live_client, job_id)
            fake_jobs.finish(job_id, "cancelled")
    assert seen == ["queued", "cancelled"]


async def test_a_client_that_leaves_is_forgotten_and_its_job_goes_on(
    live_client: httpx.AsyncClient, app: FastAPI, fake_jobs: FakeJobsClient
) -> None:
    job_id = await create(live_client)
    async with aclosing(read(live_client, job_id)) as events:  # type: ignore[type-var]
        await anext(events)
        assert app.state.services.stream_limiter.count == 1
    await until(lambda: app.state.services.stream_limiter.count == 0)
    assert (await live_client.get(f"/v1/jobs/{job_id}")).json()["state"] == "queued"
    await until_hub_rests(app)


async def test_many_clients_see_the_same_stream(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, app: FastAPI
) -> None:
    job_ids = [await create(live_client) for _ in range(3)]

    async def collect(job_id: str) -> list[str]:
        return [event.id async for event in read(live_client, job_id)]

    tasks = [asyncio.create_task(collect(job_id)) for job_id in job_ids * 3]
    await until(lambda: app.state.services.stream_limiter.count == 9)
    for job_id in job_ids:
        await fake_jobs.run(job_id)
    seen = await asyncio.gather(*tasks)
    assert seen[:3] == seen[3:6] == seen[6:]
    assert [len(ids) for ids in seen[:3]] == [4, 4, 4]
    await until_hub_rests(app)


@pytest.mark.parametrize(
    ("event_type", "data", "body"),
    [
        ("queued", {"position": 0}, {"position": 0}),
        ("progress", {"step": 1}, {"step": 1}),
        (
            "progress",
            {"step": 1, "preview": "0-c-1.webp"},
            {"step": 1, "preview_url": "/v1/jobs/J1/previews/0-c-1.webp"},
        ),
        ("image", {"id": "I1"}, {"id": "I1", "url": "/v1/images/I1"}),
    ],
)
def test_clients_get_urls_that_the_stored_events_do_not_hold(
    event_type: str, data: dict[str, Any], body: dict[str, Any]
) -> None:
    assert event_body(EventRow(1, "J1", event_type, data, utc_now())) == body
