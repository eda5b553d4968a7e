"""Without keys: what came through a proxy, or from another site's page, is refused everywhere."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from tests.serve.attacker import OPEN_TO_ALL, body_for, in_our_form, make_things, routes
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

REFUSED = [
    ("forwarded", "for=127.0.0.1"),
    ("via", "1.1 nginx"),
    ("x-real-ip", "127.0.0.1"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "localhost"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-anything", ""),
    ("origin", "https://evil.example"),
    ("origin", "http://localhost:3000"),
    ("origin", "http://127.0.0.1"),
    ("origin", "http://localhost.evil.example"),
    ("origin", "null"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
]
OWN = [
    {"origin": "http://localhost"},
    {"origin": "https://LOCALHOST"},
    {"sec-fetch-site": "same-origin", "origin": "http://localhost"},
    {"sec-fetch-site": "none"},
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
async def test_no_route_answers_without_a_key_what_others_have_sent(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, name: str, value: str
) -> None:
    things = await make_things(client, fake_jobs, {})
    closed = [route for route in routes(app) if route not in OPEN_TO_ALL]
    assert len(closed) >= 10
    for method, path in closed:
        answer = await client.request(
            method, path.format(**things), headers={name: value}, **body_for(method, path)
        )
        assert (answer.status_code, in_our_form(answer)["code"]) == (401, "unauthorized"), path
        message = in_our_form(answer)["message"]
        assert f"the header {name} " in message
        assert "cascade keys create" in message


@pytest.mark.parametrize("headers", OWN)
async def test_the_services_own_pages_are_answered(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)).is_success


async def test_another_sites_form_cannot_have_a_picture_varied(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    """A browser sends it without asking first: a form's upload needs no preflight."""
    page = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    upload = {"image": ("a.png", b"no picture", "image/png")}
    answer = await client.post("/v1/images/variations", files=upload, headers=page)
    assert answer.status_code == 401


async def test_two_host_headers_open_nothing(client: httpx.AsyncClient) -> None:
    for hosts in ([], [b"localhost", b"localhost"], [b"localhost", b"evil.example"]):
        request = client.build_request("GET", "/v1/jobs")
        request.headers = httpx.Headers([(b"host", host) for host in hosts])
        assert (await client.send(request)).status_code == 401


@pytest.mark.parametrize("rest", ["/evil.example", "?evil.example", "#.evil.example", ":x"])
async def test_a_host_header_that_only_begins_with_this_machine_opens_nothing(
    client: httpx.AsyncClient, rest: str
) -> None:
    for host in (f"localhost{rest}", f"evil.example{rest}@localhost"):
        answer = await client.get("/v1/jobs", headers={"host": host})
        assert answer.status_code == 401
    assert (await client.get("/v1/jobs", headers={"host": "[::1]:8000"})).status_code == 200


@pytest.mark.parametrize(("name", "value"), REFUSED)
async def test_with_a_key_a_proxy_and_another_site_are_fine(
    client: httpx.AsyncClient, bearer: Bearer, name: str, value: str
) -> None:
    answer = await client.get("/v1/jobs", headers=bearer("read") | {name: value})
    assert answer.status_code == 200


async def test_a_websocket_is_closed(app: FastAPI) -> None:
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/jobs", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
