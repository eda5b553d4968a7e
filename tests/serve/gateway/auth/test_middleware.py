"""Which requests are let in: by key, without keys, and within a key's limit."""

from __future__ import annotations

import socket

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.storage.access.credentials import KeyStore
from serve.storage.database import Database
from tests.serve.api_calls import code
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.live_server import Server
from tests.serve.served import changed


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are read again for every request."""
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)


@pytest.mark.usefixtures("fresh")
async def test_the_first_key_closes_the_door_and_no_revocation_opens_it(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    assert (await client.get("/v1/jobs")).status_code == 200
    key, token = keys.create("ann", ["read"])
    header = {"authorization": f"Bearer {token}"}
    closed = await client.get("/v1/jobs")
    assert (closed.status_code, code(closed)) == (401, "unauthorized")
    assert closed.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/v1/jobs", headers=header)).status_code == 200
    keys.revoke(key.id)
    assert (await client.get("/v1/jobs", headers=header)).status_code == 401
    assert (await client.get("/v1/jobs")).status_code == 401


async def test_without_keys_only_this_machine_is_answered(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, client=("203.0.113.9", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
        answer = await stranger.get("/v1/jobs")
        assert (answer.status_code, code(answer)) == (401, "unauthorized")
        assert "cascade keys create" in answer.json()["error"]["message"]
        assert (await stranger.get("/healthz")).status_code == 200


async def test_behind_a_proxy_that_hides_its_clients_no_request_without_a_key_is_answered(
    services: Services,
) -> None:
    hidden = create_app(changed(services, knows_clients=False))
    transport = httpx.ASGITransport(hidden, client=("127.0.0.1", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/v1/jobs")
        assert (answer.status_code, code(answer)) == (401, "unauthorized")
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("trusted_proxies", [None, "*"])
async def test_a_service_that_listens_everywhere_without_keys_answers_this_machine_only(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, trusted_proxies: str | None
) -> None:
    """As after `serve deploy` of a file with the host 0.0.0.0, where nothing else is checked.

    Containers often set ``FORWARDED_ALLOW_IPS``, by which uvicorn believes ``x-forwarded-for``.
    """
    if trusted_proxies is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted_proxies)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, only asks for a route
        except OSError:
            pytest.skip("this machine has no address but its own")
        outer_host = probe.getsockname()[0]
    with Server(app, "0.0.0.0") as server:
        port = server.url.rpartition(":")[2]
        async with httpx.AsyncClient() as client:
            here = await client.get(f"http://127.0.0.1:{port}/v1/jobs")
            outside = await client.get(f"http://{outer_host}:{port}/v1/jobs")
            forged = await client.get(
                f"http://{outer_host}:{port}/v1/jobs",
                headers={"host": "localhost", "x-forwarded-for": "127.0.0.1"},
            )
    assert here.status_code == 200
    assert (outside.status_code, code(outside)) == (401, "unauthorized")
    assert (forged.status_code, code(forged)) == (401, "unauthorized")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "\xff"])
async def test_without_keys_a_web_page_cannot_point_its_own_name_here(
    client: httpx.AsyncClient, host: str
) -> None:
    answer = await client.get("/v1/jobs", headers=[(b"host", host.encode("latin-1"))])
    assert (answer.status_code, code(answer)) == (401, "unauthorized")


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1", "[::1]:8000"])
async def test_every_name_of_this_machine_will_do(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/v1/jobs", headers={"host": host})).status_code == 200


@pytest.mark.usefixtures("fresh")
async def test_no_request_is_let_in_while_the_database_does_not_answer(
    client: httpx.AsyncClient, database: Database
) -> None:
    assert (await client.get("/v1/models")).status_code == 200
    with database.writing() as connection:
        connection.execute(text("DROP TABLE api_keys"))
    answer = await client.get("/v1/models")
    assert (answer.status_code, code(answer)) == (503, "not_ready")


async def test_a_key_over_its_limit_is_told_when_to_come_back(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    hasty, calm = bearer("create", "read", per_minute=2), bearer("create", "read", per_minute=2)
    for _ in range(2):
        assert (await client.get("/v1/jobs", headers=hasty)).status_code == 200
    refused = await client.post("/v1/jobs", json={"prompt": "x"}, headers=hasty)
    assert (refused.status_code, code(refused)) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert fake_jobs.database.jobs.page()[0] == []
    assert (await client.get("/v1/jobs", headers=calm)).status_code == 200
