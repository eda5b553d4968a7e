"""A client that leaves: one that waits takes its job along, one that only watches does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from cascade_core.request import GenerationRequest
from serve.records import Claim, JobOwner
from serve.routes.submission import wait_for_client
from tests.serve.memory_door import MemoryDoor

TIMEOUT_S = 10.0


async def leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ended(door: MemoryDoor, job_id: str) -> str:
    async with asyncio.timeout(TIMEOUT_S):
        await door.ended(job_id)
    job = door.database.job(job_id)
    assert job is not None
    return job.state


async def test_a_client_that_leaves_while_it_waits_cancels_the_job(
    live_client: httpx.AsyncClient, door: MemoryDoor, submitted: asyncio.Queue[str]
) -> None:
    body, headers = {"prompt": "x"}, {"prefer": "wait=60"}
    posting = asyncio.create_task(live_client.post("/v1/jobs", json=body, headers=headers))
    job_id = await submitted.get()
    await leave(posting)
    assert await ended(door, job_id) == "cancelled"


async def test_a_client_that_leaves_and_can_come_back_for_its_job_keeps_it(
    live_client: httpx.AsyncClient, door: MemoryDoor, submitted: asyncio.Queue[str]
) -> None:
    headers = {"prefer": "wait=60", "idempotency-key": "k1"}
    posting = asyncio.create_task(
        live_client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    )
    job_id = await submitted.get()
    await leave(posting)
    await door.run(job_id)
    answer = await live_client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    assert (answer.json()["id"], answer.json()["state"]) == (job_id, "succeeded")


async def test_a_client_that_leaves_the_events_of_a_job_does_not_cancel_it(
    live_client: httpx.AsyncClient, door: MemoryDoor
) -> None:
    job_id = (await live_client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    async with live_client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        await anext(stream.aiter_bytes())
    await door.run(job_id)
    assert await ended(door, job_id) == "succeeded"


async def test_a_wait_that_is_itself_cancelled_cancels_the_job(
    app: FastAPI, door: MemoryDoor, make_request: Callable[..., GenerationRequest]
) -> None:
    """Ray Serve tells a replica in this way that the client left."""
    door.longest_wait_s = TIMEOUT_S
    job_id = await door.submit(
        make_request(), None, JobOwner(None, None), Claim("0", None, "digest")
    )
    is_waiting = asyncio.Event()

    async def receive() -> dict[str, object]:
        is_waiting.set()
        return await asyncio.Future()

    request = Request({"type": "http"}, receive)
    end = door.wait(job_id, 60.0)
    waiting = asyncio.create_task(wait_for_client(app.state.services, request, job_id, end))
    await is_waiting.wait()
    await leave(waiting)
    assert await ended(door, job_id) == "cancelled"


async def test_a_wait_that_breaks_cancels_the_job(
    app: FastAPI, door: MemoryDoor, make_request: Callable[..., GenerationRequest]
) -> None:
    """Ray Serve also cancels the call that the wait is made of."""
    job_id = await door.submit(
        make_request(), None, JobOwner(None, None), Claim("0", None, "digest")
    )

    async def broken() -> None:
        raise RuntimeError("the call was cancelled")

    async def receive() -> dict[str, object]:
        return await asyncio.Future()

    request = Request({"type": "http"}, receive)
    with pytest.raises(RuntimeError):
        await wait_for_client(app.state.services, request, job_id, broken())
    assert await ended(door, job_id) == "cancelled"
