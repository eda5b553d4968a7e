"""The cost of an HTTP request at rising concurrency, with stages that do nothing.

    python -m bench.service.api

Each request is compared with one of the same kind to a bare route, in the same cluster and behind
the same proxy, that answers constants. Clients and service share this machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from fastapi import Body, FastAPI
from ray import serve as ray_serve
from sse_starlette import EventSourceResponse, ServerSentEvent

from bench.engine.null_stages import NULL_JOB
from bench.null_service import null_service
from bench.service.load import ask, closed_loop, http_session, until_idle
from bench.stats import machine, percentiles, percentiles_ms, write_result

CLIENTS = (1, 2, 4, 8, 16, 32)
SHOWN_CLIENTS = (1, 8, 32)
SECONDS = 2.0
NAMES = {
    "get": "get a job",
    "events": "read a job's events to the end",
    "create": "create a job, which runs meanwhile",
    "job": "create a job and wait for its end",
}

Send = Callable[[], Awaitable[object]]


class Bare:
    """An ingress that answers constants.

    Args:
        job: what it answers instead of a job.
        events: what it streams instead of a job's events.
    """

    def __init__(self, job: dict[str, Any], events: list[dict[str, str]]) -> None:
        self._job = job
        self._events = events

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the ASGI application; Serve calls this once, after the constructor."""
        app = FastAPI()

        @app.get("/job")
        async def get() -> dict[str, Any]:
            return self._job

        @app.post("/job", status_code=202)
        async def create(_body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008
            return self._job

        @app.get("/events")
        async def events() -> EventSourceResponse:
            return EventSourceResponse(self._stream(), sep="\n")

        return app

    async def _stream(self) -> AsyncIterator[ServerSentEvent]:
        for event in self._events:
            data, name = event["data"], event["event"]
            yield ServerSentEvent(data=data, event=name, id=event["id"], sep="\n")


def main() -> None:
    """Start the service, measure, stop it and write the result."""
    where = machine()
    with null_service() as (running, _):
        rows = asyncio.run(_measure(running.url))
    result = {"machine": where, "seconds_per_level": SECONDS, "rows": rows}
    write_result("api", result, _table(rows))


async def _measure(url: str) -> dict[str, dict[str, Any]]:
    async with http_session(url) as session:
        waiting = {"Prefer": "wait=30"}
        made = json.loads(await _post(session, "/v1/jobs", 200, headers=waiting))
        path = f"/v1/jobs/{made['id']}"
        text = (await ask(session, "GET", f"{path}/events", 200)).decode()
        await asyncio.to_thread(_deploy_bare, made, text)
        ours: dict[str, Send] = {
            "get": lambda: ask(session, "GET", path, 200),
            "events": lambda: ask(session, "GET", f"{path}/events", 200),
            "create": lambda: _post(session, "/v1/jobs", 202),
            "job": lambda: _post(session, "/v1/jobs", 200, headers=waiting),
        }
        bare: dict[str, Send] = {
            "get": lambda: ask(session, "GET", "/bare/job", 200),
            "events": lambda: ask(session, "GET", "/bare/events", 200),
            "create": lambda: _post(session, "/bare/job", 202),
        }
        rows: dict[str, dict[str, Any]] = {name: {} for name in ours}
        for name, send in ours.items():
            for clients in CLIENTS:
                row = {"ours": await _level(send, clients)}
                await until_idle(session)
                if name in bare:
                    row["bare"] = await _level(bare[name], clients)
                rows[name][str(clients)] = row
        return rows


async def _level(send: Send, clients: int) -> dict[str, float]:
    await asyncio.gather(*(send() for _ in range(clients)))  # opens the connections
    samples, took_s = await closed_loop(send, clients, SECONDS)
    return {"per_s": len(samples) / took_s} | percentiles(samples)


async def _post(session: aiohttp.ClientSession, path: str, expected: int, **more: Any) -> bytes:
    return await ask(session, "POST", path, expected, json=NULL_JOB, **more)


def _deploy_bare(job: dict[str, Any], stream: str) -> None:
    """Run the bare ingress beside the service; ``stream`` is an event stream of the service."""
    blocks = [block.splitlines() for block in stream.strip().split("\n\n")]
    events = [dict(line.split(": ", 1) for line in block) for block in blocks]
    deployment = ray_serve.deployment(
        ray_serve.ingress()(Bare),
        name="Bare",
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0.1},
    )
    ray_serve.run(deployment.bind(job, events), name="bare", route_prefix="/bare")


def _table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| null stages, over HTTP | clients | per second | p50 / p95 / p99 "
        "| bare route, per second | p50 / p95 / p99 |",
        "|---|---|---|---|---|---|",
    ]
    for name, label in NAMES.items():
        for clients in SHOWN_CLIENTS:
            row = rows[name][str(clients)]
            cells = [label, str(clients)]
            for which in ("ours", "bare"):
                level = row.get(which)
                cells += [f"{level['per_s']:.0f}", percentiles_ms(level)] if level else ["", ""]
            lines.append(f"| {' | '.join(cells)} |")
    note = (
        "Clients, proxy, one Gateway, Jobs and SQLite share the cores. Not measured: a network, "
        "several gateways, API keys, PostgreSQL."
    )
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()
