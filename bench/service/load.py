"""Clients over real sockets, each of which asks again as soon as it has an answer."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

TIMEOUT_S = 600
"""Of 64 clients of a server that draws one picture after another, the last waits for minutes."""


@asynccontextmanager
async def http_session(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client without a limit of connections."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    async with aiohttp.ClientSession(
        base_url=url,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S),
    ) as session:
        yield session


async def ask(
    session: aiohttp.ClientSession, method: str, path: str, expected: int, **more: Any
) -> bytes:
    """Send a request and return the body of its answer.

    Raises:
        RuntimeError: the answer's status is another than expected.
    """
    async with asyncio.timeout(TIMEOUT_S), session.request(method, path, **more) as answer:
        body = await answer.read()
    if answer.status != expected:
        raise RuntimeError(f"{method} {path} -> {answer.status}: {body[:300]!r}")
    return body


async def closed_loop(
    send: Callable[[], Awaitable[object]], clients: int, seconds: float
) -> tuple[list[float], float]:
    """Let clients send requests for some time.

    Returns:
        the seconds of each request, and of the whole run.
    """
    samples: list[float] = []
    begun_s = time.perf_counter()

    async def work() -> None:
        while (sent_s := time.perf_counter()) < begun_s + seconds:
            await send()
            samples.append(time.perf_counter() - sent_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(work())
    return samples, time.perf_counter() - begun_s


async def until_idle(session: aiohttp.ClientSession) -> None:
    """Return when no job is open."""
    while True:
        pages = [
            await ask(session, "GET", f"/v1/jobs?state={state}&limit=1", 200)
            for state in ("queued", "running")
        ]
        if all(b'"jobs":[]' in page for page in pages):
            return
        await asyncio.sleep(0.1)
