"""Headers of every answer, whatever its route and its status; the docs' page in a browser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from serve.responses.headers import DEFAULT_HEADERS
from serve.responses.request_id import REQUEST_ID_HEADER
from tests.limits import HANG_S
from tests.serve.attacker import ENDLESS, body_for, make_things, routes
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.live_server import Server
from tests.wire.screens import chromium

OF_EVERY_ROUTE = ("x-content-type-options", "referrer-policy")


def check(answer: httpx.Response) -> None:
    for name in OF_EVERY_ROUTE:
        assert answer.headers.get_list(name) == [DEFAULT_HEADERS[name]], answer.request.url
    for name in DEFAULT_HEADERS.keys() - set(OF_EVERY_ROUTE):
        assert len(answer.headers.get_list(name)) == 1, (answer.request.url, name)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert len(answer.headers.get_list(REQUEST_ID_HEADER)) == 1
    if answer.headers.get("content-type") == "application/json":
        assert answer.headers["cache-control"] == "no-store"


async def test_every_route_sends_them(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    things = await make_things(client, fake_jobs, {})
    found = sorted(set(routes(app)) - ENDLESS, key=lambda route: (route[0] == "DELETE", route))
    for method, path in [*found, ("GET", "/docs/assets/swagger-ui.css")]:
        check(await client.request(method, path.format(**things), **body_for(method, path)))


async def test_the_docs_own_files_may_be_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs/assets/swagger-ui-bundle.js")
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert (await client.get("/docs")).headers["cache-control"] == "no-store"


async def test_refusals_send_them(
    client: httpx.AsyncClient, live_client: httpx.AsyncClient, bearer: Bearer
) -> None:
    root, writer = bearer("admin"), bearer("create")
    huge = b"x" * 3_000_000
    answers = {
        401: await client.get("/v1/jobs"),
        403: await client.get("/v1/jobs", headers=writer),
        404: await client.get("/v1/unknown", headers=root),
        405: await client.put("/v1/jobs", headers=root),
        413: await live_client.post("/v1/jobs", content=huge, headers=root),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        check(answer)


async def test_an_event_stream_sends_them(live_client: httpx.AsyncClient) -> None:
    job_id = (await live_client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    for path in (f"/v1/jobs/{job_id}/events", "/v1/events"):
        async with live_client.stream("GET", path) as answer:
            check(answer)


@pytest.mark.skipif(chromium.find() is None, reason=chromium.NOTICE)
def test_the_docs_page_works_in_a_browser_under_its_policy(app: FastAPI, tmp_path: Path) -> None:
    with Server(app) as server:
        done = subprocess.run(
            [
                str(chromium.find()),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                f"--user-data-dir={tmp_path}",
                "--enable-logging=stderr",
                "--virtual-time-budget=100000",
                "--dump-dom",
                f"{server.url}/docs",
            ],
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=True,
        )
    assert "/v1/images/generations" in done.stdout  # drawn from /openapi.json
    assert "Content Security Policy" not in done.stderr
