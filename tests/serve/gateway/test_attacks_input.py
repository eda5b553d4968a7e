"""What strangers send: paths, headers and bodies that no honest client makes."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.limits import HANG_S
from tests.serve.attacker import OPEN_TO_ALL, body_for, in_our_form, make_things, routes
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

NASTY = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f",
    "..%5c..%5cx",
    "a%2fb",
    "%00",
    "a%00.png",
    "a%0d%0aX-Evil:%201",
    "%f0%9f%92%a9",
    "%ff%fe",
    "%e2%80%ae",
    "'%20or%201=1--",
    "%25%32%65",
    "x" * 65,
    "x" * 8000,
    "%24%7bjndi:ldap:%2f%2fx%7d",
]


@pytest.mark.parametrize("nasty", NASTY)
async def test_a_nasty_id_is_not_found_and_forges_no_log_line(
    app: FastAPI,
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    bearer: Bearer,
    log: io.StringIO,
    nasty: str,
) -> None:
    root = bearer("admin")
    things = await make_things(client, fake_jobs, root)
    by_id = [route for route in routes(app) if "{" in route[1] and route not in OPEN_TO_ALL]
    for method, path in by_id:
        for part in re.findall(r"{(\w+)}", path):
            address = path.format(**things | {part: nasty})
            answer = await client.request(method, address, headers=root, **body_for(method, path))
            assert answer.status_code == 404, (method, address)
            assert "x-evil" not in answer.headers
            in_our_form(answer)
    lines = [line for line in log.getvalue().splitlines() if " serve." in line]
    assert lines
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ serve\.", line) for line in lines)


@pytest.mark.parametrize("name", ["exe", "PNG", "png/../x", "%00", "x" * 5000, "png\r\nX-Evil: 1"])
async def test_a_nasty_format_is_400(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer, name: str
) -> None:
    root = bearer("admin")
    image_id = (await make_things(client, fake_jobs, root))["image_id"]
    answer = await client.get(f"/v1/images/{image_id}", params={"format": name}, headers=root)
    assert answer.status_code == 400
    assert len(answer.content) < 1000
    in_our_form(answer)


async def test_a_forged_request_id_is_replaced(
    live_client: httpx.AsyncClient, bearer: Bearer
) -> None:
    root = bearer("admin")
    for forged in ("a b", "x" * 65, "\u00e9".encode(), "<script>", "a\tb", "..;/"):
        answer = await live_client.get(
            "/v1/models", headers=[*root.items(), ("x-request-id", forged)]
        )  # type: ignore[arg-type]
        assert answer.status_code == 200
        assert re.fullmatch(r"[0-9A-Z]{26}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "lines",
    [
        "Authorization: Bearer {token}\r\n injected: folded",
        "Authorization: Bearer {token}\rX-Evil: 1",
        "Authorization: Bearer {token}\nX-Evil: 1",
        "Authorization: Bearer {token}\x00",
        "X-Request-ID: a\r\n\tb\r\nAuthorization: Bearer x",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1",
        "Host: evil.example",
    ],
)
async def test_broken_headers_open_nothing(
    live_client: httpx.AsyncClient, bearer: Bearer, lines: str
) -> None:
    token = bearer("admin")["authorization"].removeprefix("Bearer ")
    reader, writer = await asyncio.open_connection("127.0.0.1", live_client.base_url.port)
    head = f"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{lines.format(token=token)}\r\n"
    writer.write((head + "Connection: close\r\n\r\n").encode("latin-1"))
    async with asyncio.timeout(HANG_S):
        answer = await reader.read()
    writer.close()
    assert re.match(rb"HTTP/1.1 (400|401) ", answer), answer[:200]
    assert b"x-evil" not in answer.lower()


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    live_client: httpx.AsyncClient, bearer: Bearer, log: io.StringIO
) -> None:
    root = bearer("admin") | {"content-type": "application/json"}
    huge = b'{"prompt": "' + b"x" * 3_000_000 + b'"}'
    claimed = await live_client.post("/v1/jobs", content=huge, headers=root)
    assert (claimed.status_code, in_our_form(claimed)["code"]) == (413, "body_too_large")

    async def drip() -> Any:
        for start in range(0, len(huge), 4096):
            yield huge[start : start + 4096]

    chunked = await live_client.post("/v1/jobs", content=drip(), headers=root)
    assert (chunked.status_code, in_our_form(chunked)["code"]) == (413, "body_too_large")
    assert "accepted job" not in log.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 30_000 + b"]" * 30_000,
        b'{"client_state": ' + b'{"a":' * 9_000 + b"1" + b"}" * 9_000 + b"}",
        b'{"prompt": "x", "seed": ' + b"9" * 20_000 + b"}",
        b'{"prompt": "x", "guidance_scale": 1e999}',
        b'{"prompt": "x", "guidance_scale": NaN}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "user": "a\\r\\nb"}',
        b'{"prompt": "x", "user": "\\ud800"}',
        b'{"prompt": "x", "user": "\\u202e"}',
        b'{"prompt": "x", "client_state": {"a": "\\ud800"}}',
        b'{"prompt": "x", "client_state": {"a": NaN}}',
        b'{"prompt": "x", "latent_id": "../../x"}',
        b'{"prompt": "x", "kind": "__class__"}',
        b'{"prompt": "x", "owner": "root"}',
        b'{"prompt": "x", "id": "1"}',
        b'"\xff"',
        b"\x00",
        b"null",
        b"",
    ],
)
async def test_a_hostile_body_is_a_clients_error(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer, body: bytes
) -> None:
    root = bearer("admin") | {"content-type": "application/json"}
    answer = await client.post("/v1/jobs", content=body, headers=root)
    assert answer.status_code in {400, 422}, answer.text
    assert len(answer.content) < 2000
    in_our_form(answer)
    assert fake_jobs.database.jobs.page()[0] == []


async def test_what_a_client_puts_into_its_own_state_forges_nothing(
    client: httpx.AsyncClient, bearer: Bearer, log: io.StringIO
) -> None:
    root = bearer("admin")
    state = {"a\r\nb": "x\r\n2026-01-01T00:00:00.000Z ERROR serve forged\u2028\x00"}
    body = {"prompt": "p\r\nforged", "client_state": state, "user": "u" * 128}
    answer = await client.post("/v1/jobs", json=body, headers=root)
    job = (await client.get(f"/v1/jobs/{answer.json()['id']}", headers=root)).json()
    assert job["client_state"] == state
    events = await client.get(
        f"/v1/jobs/{job['id']}/events", headers=root | {"last-event-id": "1\r\nX: 1"}
    )
    assert events.status_code == 400
    assert not any(line.startswith("2026-01-01") for line in log.getvalue().splitlines())
