"""Slow attacks: requests that never end, streams that are not read, idle streams."""

from __future__ import annotations

import asyncio
import io
import resource
import socket
import struct
from collections.abc import Awaitable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve.gateway.limits import StreamLimiter
from serve.gateway.middleware import requests as middleware
from serve.gateway.middleware.requests import BodyLimit
from serve.storage.access.credentials import KeyStore
from serve.storage.database import Database
from serve.storage.events import append_events
from serve.storage.job_store import update_open
from tests.limits import HANG_S
from tests.serve.conftest import Bearer, JobMaker
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.recorded_jobs import record_step
from tests.serve.waiting import until

STREAMS = 300
SMALL_BUFFER_BYTES = 4096
JSON_HEAD = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are read again for every request."""
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "JOB_LIMIT", BodyLimit(64 * 1024, 0.2))


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of hundreds of connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * STREAMS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def send(client: httpx.AsyncClient, text: str) -> Connection:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(text.encode())
    return reader, writer


def stream_request(job_id: str, headers: dict[str, str] | None = None) -> str:
    return get_request(f"/v1/jobs/{job_id}/events", headers)


def get_request(path: str, headers: dict[str, str] | None = None) -> str:
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"


async def soon(awaitable: Awaitable[Any]) -> Any:
    async with asyncio.timeout(HANG_S):
        return await awaitable


def vanish(writer: asyncio.StreamWriter) -> None:
    """Be gone without a word of farewell, as a client is that crashed."""
    abort = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
    writer.transport.abort()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("rest", ["", "{", "x" * 100])
async def test_a_body_that_does_not_arrive_is_408_and_ends_the_connection(
    live_client: httpx.AsyncClient, rest: str
) -> None:
    reader, writer = await send(live_client, JSON_HEAD + f"Content-Length: 60000\r\n\r\n{rest}")
    answer = await soon(reader.read())
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_drips_gains_no_time(live_client: httpx.AsyncClient) -> None:
    reader, writer = await send(live_client, JSON_HEAD + "Content-Length: 60000\r\n\r\n")

    async def drip() -> None:
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert (await soon(reader.readline())).startswith(b"HTTP/1.1 408 ")
    dripping.cancel()
    writer.close()


async def test_an_announced_body_that_is_not_needed_ends_the_stream_quietly(
    live_client: httpx.AsyncClient, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = (await live_client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    request = stream_request(job_id, {"Content-Length": "100"})
    answer = b""
    for timeout_s in (0.2, 2.0, 20.0):  # a busy machine may need more to send the first event
        monkeypatch.setattr(middleware, "JSON_LIMIT", BodyLimit(64 * 1024, timeout_s))
        reader, writer = await send(live_client, request)
        answer = await soon(reader.read())
        writer.close()
        if b"event: queued" in answer:
            break
    assert b"event: queued" in answer
    assert "Traceback" not in log.getvalue()


async def test_requests_that_never_end_their_headers_hold_up_no_other_request(
    live_client: httpx.AsyncClient,
) -> None:
    half = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    opened = [await send(live_client, half) for _ in range(200)]
    assert (await live_client.get("/v1/jobs")).status_code == 200
    for _, writer in opened:
        writer.close()


async def test_a_client_that_does_not_read_its_stream_is_given_up(
    live_client: httpx.AsyncClient,
    app: FastAPI,
    listener: socket.socket,
    fake_jobs: FakeJobsClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.gateway.events.sse.SEND_TIMEOUT_S", 0.2)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)
    job_id = (await live_client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    deaf.connect(("127.0.0.1", live_client.base_url.port or 0))
    deaf.sendall(stream_request(job_id).encode())
    await until(lambda: app.state.services.stream_limiter.count == 1)
    for step in range(1500):
        record_step(fake_jobs.database, job_id, "c", step, 1500, 0)
    await until(lambda: app.state.services.stream_limiter.count == 0)
    await until(lambda: app.state.services.event_hub._reader is None)
    deaf.close()


async def test_a_client_that_does_not_read_the_stream_of_its_jobs_is_given_up(
    live_client: httpx.AsyncClient,
    app: FastAPI,
    listener: socket.socket,
    fake_jobs: FakeJobsClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.gateway.events.sse.SEND_TIMEOUT_S", 0.2)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)
    job_id = (await live_client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    deaf.connect(("127.0.0.1", live_client.base_url.port or 0))
    deaf.sendall(get_request("/v1/events").encode())
    hub = app.state.services.event_hub
    await until(lambda: job_id in hub._streams)
    with fake_jobs.database.writing() as connection:
        assert update_open(connection, job_id, {})
        append_events(connection, "image", [(job_id, {"index": 0, "id": "I"})] * 1500)
    await until(lambda: app.state.services.stream_limiter.count == 0)
    await until(lambda: hub._reader is None)
    deaf.close()


@pytest.mark.usefixtures("many_files")
async def test_hundreds_of_idle_streams_are_held_and_one_more_is_told_to_come_back(
    live_client: httpx.AsyncClient,
    app: FastAPI,
    fake_jobs: FakeJobsClient,
    make_job: JobMaker,
    bearer: Bearer,
) -> None:
    app.state.services.stream_limiter = StreamLimiter(STREAMS + 1, STREAMS)
    app.state.services.keep_alive_s = 5.0
    greedy, other = bearer("admin"), bearer("admin")
    job = make_job()
    fake_jobs.database.jobs.insert(job)

    request = stream_request(job.id, greedy)
    opened = await soon(asyncio.gather(*(send(live_client, request) for _ in range(STREAMS))))
    for reader, _ in opened:
        await soon(reader.readuntil(b"event: queued"))
    refused = await live_client.get(f"/v1/jobs/{job.id}/events", headers=greedy)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) > 0
    assert (await live_client.get(f"/v1/jobs/{job.id}", headers=greedy)).status_code == 200

    reader, writer = await send(live_client, stream_request(job.id, other))
    await soon(reader.readuntil(b"event: queued"))
    full = await live_client.get(f"/v1/jobs/{job.id}/events", headers=other)
    assert (full.status_code, full.json()["error"]["code"]) == (503, "not_ready")
    assert int(full.headers["retry-after"]) > 0

    for _, gone in opened:
        vanish(gone)
    await until(lambda: app.state.services.stream_limiter.count == 1)
    fake_jobs.database.jobs.finish(job.id, "cancelled")
    await soon(reader.readuntil(b"event: cancelled"))
    await until(lambda: app.state.services.stream_limiter.count == 0)
    await until(lambda: app.state.services.event_hub._reader is None)
    writer.close()


async def test_a_wait_counts_as_held_open_and_a_plain_request_does_not(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    app.state.services.stream_limiter = StreamLimiter(10, 0)
    waiting = await client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": "wait=9"})
    assert waiting.status_code == 429
    drawing = await client.post("/v1/images/generations", json={"prompt": "x"})
    assert drawing.status_code == 429
    assert (await client.get("/v1/jobs")).json()["jobs"] == []
    assert (await client.post("/v1/jobs", json={"prompt": "x"})).status_code == 202


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("path", "first"),
    [("/v1/jobs/{job_id}/events", b"event: queued"), ("/v1/events", b"event: live")],
)
async def test_the_streams_of_a_revoked_key_end_and_those_of_others_go_on(
    live_client: httpx.AsyncClient, keys: KeyStore, log: io.StringIO, path: str, first: bytes
) -> None:
    key, token = keys.create("ann", ["create", "read"])
    _, admin_token = keys.create("root", ["admin"])
    ann, root = ({"authorization": f"Bearer {text}"} for text in (token, admin_token))
    answer = await live_client.post("/v1/jobs", json={"prompt": "x"}, headers=ann)
    job_id = answer.json()["id"]
    path = path.format(job_id=job_id)
    streams = [await send(live_client, get_request(path, headers)) for headers in (ann, root)]
    for reader, _ in streams:
        await soon(reader.readuntil(first))
    keys.revoke(key.id)
    (ended, _), (open_one, _) = streams
    assert b"event:" not in await soon(ended.readuntil(b"0\r\n\r\n"))
    for _ in range(2):
        await soon(open_one.readuntil(b": keep-alive"))
    for _, writer in streams:
        writer.close()
    assert "Traceback" not in log.getvalue()


@pytest.mark.usefixtures("fresh")
async def test_the_streams_of_an_ended_session_end_and_those_of_its_key_go_on(
    live_client: httpx.AsyncClient, keys: KeyStore, database: Database
) -> None:
    key, token = keys.create("ann", ["create", "read"])
    session, cookie = database.sessions.create(key.id)
    by_key, by_cookie = {"authorization": f"Bearer {token}"}, {"cookie": f"cascade={cookie}"}
    answer = await live_client.post("/v1/jobs", json={"prompt": "x"}, headers=by_key)
    request = [stream_request(answer.json()["id"], sent) for sent in (by_cookie, by_key)]
    streams = [await send(live_client, one) for one in request]
    for reader, _ in streams:
        await soon(reader.readuntil(b"event: queued"))
    assert database.sessions.end(key.id, session.id)
    (ended, _), (open_one, _) = streams
    assert b"event:" not in await soon(ended.readuntil(b"0\r\n\r\n"))
    for _ in range(2):
        await soon(open_one.readuntil(b": keep-alive"))
    for _, writer in streams:
        writer.close()


@pytest.mark.usefixtures("fresh")
async def test_a_wait_with_a_revoked_key_ends_and_cancels_its_job(
    live_client: httpx.AsyncClient,
    keys: KeyStore,
    fake_jobs: FakeJobsClient,
    submitted: asyncio.Queue[str],
) -> None:
    key, token = keys.create("ann", ["create", "read"])
    headers = {"authorization": f"Bearer {token}", "prefer": "wait=60"}
    posting = asyncio.create_task(
        live_client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    )
    job_id = await submitted.get()
    keys.revoke(key.id)
    await soon(fake_jobs.ended(job_id))
    job = fake_jobs.database.jobs.get(job_id)
    assert job is not None
    assert job.state == "cancelled"
    await soon(posting)
