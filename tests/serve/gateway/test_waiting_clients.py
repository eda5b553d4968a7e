"""A client that leaves: its job is cancelled if it waited, and goes on if it only watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from cascade_core.request import GenerationRequest
from serve.gateway.submission import wait_until_ended
from serve.gateway.waiting_clients import AcceptedJob, WaitingClients
from serve.storage.records import JobIdentity, JobOwner
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.waiting import until


async def leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ended(fake_jobs: FakeJobsClient, job_id: str) -> str:
    async with asyncio.timeout(HANG_S):
        await fake_jobs.ended(job_id)
    job = fake_jobs.database.jobs.get(job_id)
    assert job is not None
    return job.state


async def test_a_client_that_leaves_while_it_waits_cancels_the_job(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    body, headers = {"prompt": "x"}, {"prefer": "wait=60"}
    posting = asyncio.create_task(live_client.post("/v1/jobs", json=body, headers=headers))
    job_id = await submitted.get()
    await leave(posting)
    assert await ended(fake_jobs, job_id) == "cancelled"


async def test_a_client_that_left_gets_another_job_with_the_same_key(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    headers = {"prefer": "wait=60", "idempotency-key": "k1"}
    asking = partial(live_client.post, "/v1/jobs", json={"prompt": "x"}, headers=headers)
    posting = asyncio.create_task(asking())
    first_id = await submitted.get()
    await leave(posting)
    assert await ended(fake_jobs, first_id) == "cancelled"
    again = asyncio.create_task(asking())
    second_id = await submitted.get()
    await fake_jobs.run(second_id)
    answer = (await again).json()
    assert (answer["id"], answer["state"]) == (second_id, "succeeded")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images/generations"])
async def test_a_job_is_kept_while_another_request_with_its_key_waits(
    live_client: httpx.AsyncClient,
    app: FastAPI,
    fake_jobs: FakeJobsClient,
    submitted: asyncio.Queue[str],
    path: str,
) -> None:
    headers = {"prefer": "wait=60", "idempotency-key": "k1"}
    asking = partial(live_client.post, path, json={"prompt": "x"}, headers=headers)
    first = asyncio.create_task(asking())
    job_id = await submitted.get()
    second, third = asyncio.create_task(asking()), asyncio.create_task(asking())
    waiting_for = app.state.services.waiting_clients.count
    await until(lambda: waiting_for(job_id) == 3)
    await leave(first)
    await leave(second)
    await until(lambda: waiting_for(job_id) == 1)
    await fake_jobs.run(job_id)
    assert (await third).status_code == 200
    assert await ended(fake_jobs, job_id) == "succeeded"


async def test_a_job_is_cancelled_when_its_last_waiting_client_leaves(
    live_client: httpx.AsyncClient,
    app: FastAPI,
    fake_jobs: FakeJobsClient,
    submitted: asyncio.Queue[str],
) -> None:
    headers = {"prefer": "wait=60", "idempotency-key": "k1"}
    asking = partial(live_client.post, "/v1/jobs", json={"prompt": "x"}, headers=headers)
    first = asyncio.create_task(asking())
    job_id = await submitted.get()
    second = asyncio.create_task(asking())
    await until(lambda: app.state.services.waiting_clients.count(job_id) == 2)
    await leave(first)
    await leave(second)
    assert await ended(fake_jobs, job_id) == "cancelled"


async def test_a_job_that_was_accepted_before_is_not_cancelled_by_a_later_waiting_client(
    live_client: httpx.AsyncClient,
    app: FastAPI,
    fake_jobs: FakeJobsClient,
    submitted: asyncio.Queue[str],
) -> None:
    headers = {"idempotency-key": "k1"}
    asking = partial(live_client.post, "/v1/jobs", json={"prompt": "x"})
    job_id = (await asking(headers=headers)).json()["id"]
    waiting = asyncio.create_task(asking(headers=headers | {"prefer": "wait=60"}))
    count = app.state.services.waiting_clients.count
    await until(lambda: count(job_id) == 1)
    await leave(waiting)
    await until(lambda: count(job_id) == 0)
    await fake_jobs.run(job_id)
    assert await ended(fake_jobs, job_id) == "succeeded"


def test_a_job_whose_id_one_waiting_client_has_got_goes_on(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[str] = []
    waiting: WaitingClients = app.state.services.waiting_clients
    monkeypatch.setattr(waiting, "cancel_abandoned", cancelled.append)
    job = AcceptedJob("1", is_new=True)
    waiting.join(job)
    waiting.join(AcceptedJob("1", is_new=False))
    waiting.leave(job, is_answered=True)
    waiting.leave(job, is_answered=False)
    assert waiting.count("1") == 0
    assert cancelled == []


async def test_a_client_that_leaves_the_events_of_a_job_does_not_cancel_it(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = (await live_client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    async with live_client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        await anext(stream.aiter_bytes())
    await fake_jobs.run(job_id)
    assert await ended(fake_jobs, job_id) == "succeeded"


async def test_a_wait_that_is_itself_cancelled_cancels_the_job(
    app: FastAPI, fake_jobs: FakeJobsClient, make_request: Callable[..., GenerationRequest]
) -> None:
    """Ray Serve tells a replica in this way that the client left."""
    job_id = await fake_jobs.submit(
        make_request(), None, JobOwner(None, None), JobIdentity("0", None, "digest")
    )
    is_waiting = asyncio.Event()

    async def receive() -> dict[str, object]:
        is_waiting.set()
        return await asyncio.Future()

    request = Request({"type": "http"}, receive)
    waiting = asyncio.create_task(
        wait_until_ended(app.state.services, request, AcceptedJob(job_id, True), 60.0)
    )
    await is_waiting.wait()
    await leave(waiting)
    assert await ended(fake_jobs, job_id) == "cancelled"


async def test_a_wait_that_breaks_cancels_the_job(
    app: FastAPI,
    fake_jobs: FakeJobsClient,
    make_request: Callable[..., GenerationRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = await fake_jobs.submit(
        make_request(), None, JobOwner(None, None), JobIdentity("0", None, "digest")
    )

    async def broken(_job_id: str, _timeout_s: float) -> None:
        raise RuntimeError("the wait broke")

    async def receive() -> dict[str, object]:
        return await asyncio.Future()

    request = Request({"type": "http"}, receive)
    services = app.state.services
    monkeypatch.setattr(services.event_hub, "wait_until_ended", broken)
    with pytest.raises(RuntimeError):
        await wait_until_ended(services, request, AcceptedJob(job_id, True), 60.0)
    assert await ended(fake_jobs, job_id) == "cancelled"
