"""Keys, scopes, owners: who is let in, and what they find."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from cascade_core.errors import RateLimited
from cascade_core.service_url import is_loopback
from serve.gateway.application import create_app
from serve.gateway.auth.key_cache import TOUCH_EVERY_S, KeyCache
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.limits import RateLimiter
from serve.storage.credentials import KeyStore, find_valid
from serve.storage.database import Database
from tests.serve.api_calls import code
from tests.serve.changed_services import changed
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.live_server import Server

Headers = dict[str, str]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are read again for every request."""
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)


async def made(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, headers: Headers, **body: Any
) -> dict[str, Any]:
    """Return a job that has succeeded."""
    answer = await client.post("/v1/jobs", json={"prompt": "x"} | body, headers=headers)
    assert answer.status_code == 202, answer.text
    await fake_jobs.run(answer.json()["id"])
    job: dict[str, Any] = answer.json() | {"images": []}
    job["images"] = [image.to_json() for image in fake_jobs.images(job["id"])]
    return job


async def listed(client: httpx.AsyncClient, headers: Headers, **params: str) -> list[str]:
    answer = await client.get("/v1/jobs", headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


async def vary(
    client: httpx.AsyncClient, headers: Headers, latent_id: str, **more: str
) -> httpx.Response:
    body = {"kind": "vary_details", "latent_id": latent_id} | more
    return await client.post("/v1/jobs", json=body, headers=headers)


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


async def test_only_an_admin_is_told_why_the_service_is_not_ready(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    fake_jobs.states["StageC"] = "DEPLOY_FAILED: no such host gpu-7.internal"
    root, reader = bearer("admin"), bearer("read")
    for headers in ({}, reader, {"authorization": "Bearer csk_wrong"}):
        shown = (await client.get("/readyz", headers=headers)).json()
        assert shown["checks"]["StageC"] == "not ready"
        assert shown["checks"]["Jobs"] == "ready"
        assert shown["error"]["message"] == "StageC: not ready"
    told = (await client.get("/readyz", headers=root)).json()
    assert told["checks"]["StageC"] == fake_jobs.states["StageC"]
    assert "gpu-7.internal" in told["error"]["message"]


async def test_a_missing_scope_is_forbidden_and_named(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    reader, creator = bearer("read"), bearer("create")
    refused = await client.post("/v1/jobs", json={"prompt": "x"}, headers=reader)
    assert (refused.status_code, code(refused)) == (403, "forbidden")
    assert "'create'" in refused.json()["error"]["message"]
    accepted = await client.post("/v1/jobs", json={"prompt": "x"}, headers=creator)
    assert accepted.status_code == 202
    assert (await client.get("/v1/jobs", headers=creator)).status_code == 403


async def test_a_key_lists_its_own_jobs_and_an_admin_all(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob, root = bearer("create", "read"), bearer("create", "read"), bearer("admin")
    of_ann, of_bob = (
        await made(client, fake_jobs, ann, user="x"),
        await made(client, fake_jobs, bob),
    )
    assert await listed(client, ann) == [of_ann["id"]]
    assert await listed(client, bob) == [of_bob["id"]]
    assert await listed(client, bob, user="x") == []
    assert await listed(client, root) == [of_bob["id"], of_ann["id"]]
    assert await listed(client, root, user="x") == [of_ann["id"]]


async def test_an_inbox_holds_the_jobs_of_its_own_key_alone_for_an_admin_too(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    """A bot with an admin's key would deliver what another key addressed."""
    ann, root = bearer("create", "read"), bearer("admin")
    own = {}
    for headers in (ann, root):
        body = {"prompt": "x", "client_state": {"inbox": "bot"}}
        answer = await client.post("/v1/jobs", json=body, headers=headers)
        own[headers["authorization"]] = answer.json()["id"]
    for headers in (ann, root):
        assert await listed(client, headers, inbox="bot") == [own[headers["authorization"]]]


@pytest.mark.usefixtures("fresh")
async def test_jobs_from_before_the_first_key_are_for_admins_only(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    job = await made(client, fake_jobs, {})
    ann, root = bearer("create", "read", "trusted"), bearer("admin")
    path, latent_id = f"/v1/jobs/{job['id']}", job["images"][0]["latent_id"]
    assert (await client.get(path, headers=ann)).status_code == 404
    assert (await vary(client, ann, latent_id)).status_code == 404
    assert await listed(client, ann) == []
    assert (await client.get(path, headers=root)).status_code == 200


async def test_what_a_trusted_key_does_for_a_user_reaches_that_users_things_only(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    bot = bearer("create", "read", "trusted")
    job = await made(client, fake_jobs, bot, user="ann")
    image = job["images"][0]
    paths = [f"/v1/jobs/{job['id']}", f"/v1/images/{image['id']}"]
    for path in [*paths, f"/v1/latents/{image['latent_id']}"]:
        statuses = {
            who: (await client.get(path, headers=bot, params=params)).status_code
            for who, params in {"": {}, "ann": {"user": "ann"}, "bob": {"user": "bob"}}.items()
        }
        assert statuses == {"": 200, "ann": 200, "bob": 404}
    for path in paths:
        answer = await client.delete(path, headers=bot, params={"user": "bob"})
        assert answer.status_code == 404
    assert (await vary(client, bot, image["latent_id"], user="bob")).status_code == 404
    assert (await vary(client, bot, image["latent_id"], user="ann")).status_code == 202
    assert (await vary(client, bot, image["latent_id"])).status_code == 202
    mine = await client.delete(paths[1], headers=bot, params={"user": "ann"})
    assert mine.status_code == 204


async def test_a_plain_key_has_labels_but_does_not_act_for_users(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob = bearer("create", "read"), bearer("create", "read")
    job = await made(client, fake_jobs, ann, user="x")
    latent_id = job["images"][0]["latent_id"]
    assert await listed(client, ann, user="x") == [job["id"]]
    assert (await vary(client, ann, latent_id, user="y")).status_code == 202
    assert (await vary(client, bob, latent_id, user="x")).status_code == 404
    for method in ("GET", "DELETE"):
        answer = await client.request(
            method, f"/v1/jobs/{job['id']}", headers=ann, params={"user": "x"}
        )
        assert (answer.status_code, code(answer)) == (403, "forbidden")


def test_a_plain_key_takes_one_users_turns_however_many_it_names() -> None:
    plain, trusted = (Caller("k", frozenset({"create", scope})) for scope in ("read", "trusted"))
    assert plain.owner("a").queue_user == plain.owner("b").queue_user
    assert trusted.owner("a").queue_user != trusted.owner("b").queue_user


async def test_without_keys_a_named_user_is_checked_all_the_same(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs, {}, user="ann"))["images"][0]
    refused = await client.delete(f"/v1/images/{image['id']}", params={"user": "bob"})
    assert (refused.status_code, code(refused)) == (404, "not_found")
    assert (await vary(client, {}, image["latent_id"], user="bob")).status_code == 404
    assert (await client.delete(f"/v1/images/{image['id']}")).status_code == 204


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


def test_a_bucket_holds_a_minute_and_refills_at_its_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)

    def take(count: int) -> None:
        for _ in range(count):
            limiter.take("a", 60)

    for pause_s, there in ((0, 60), (2, 2), (3600, 60)):
        clock.now_s += pause_s
        take(there)
        with pytest.raises(RateLimited) as refused:
            take(1)
        assert refused.value.retry_after_s == pytest.approx(1.0)
    for _ in range(1000):
        limiter.take("b", 0)


def test_buckets_that_are_full_again_or_too_many_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve.gateway.limits.MAX_BUCKETS", 3)
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    for number in range(10):
        limiter.take(f"name {number}", 1)
    assert limiter._buckets.keys() == {"name 7", "name 8", "name 9"}
    with pytest.raises(RateLimited):
        limiter.take("name 7", 1)
    clock.now_s += 60
    limiter.take("new", 1)
    assert limiter._buckets.keys() == {"new"}


async def test_keys_are_read_every_few_seconds_and_their_use_is_noted_hourly(
    keys: KeyStore, database: Database
) -> None:
    clock = Clock()
    key_cache = KeyCache(database, clock)
    assert await key_cache.keys() == {}
    key, _ = keys.create("ann", ["read"])
    assert await key_cache.keys() == {}
    clock.now_s += 2
    assert [*await key_cache.keys()] == [key.id]
    before = datetime.now(UTC)
    await key_cache.touch(key.id)
    first = keys.get(key.id).last_used_at
    assert first is not None
    assert first >= before
    await key_cache.touch(key.id)
    assert keys.get(key.id).last_used_at == first
    clock.now_s += TOUCH_EVERY_S
    await key_cache.touch(key.id)
    assert keys.get(key.id).last_used_at != first


def test_a_secret_is_stored_as_a_hash_and_has_256_bits(keys: KeyStore, database: Database) -> None:
    key, token = keys.create("ann", ["read"])
    prefix, key_id, secret = token.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("csk", key.id, 43)
    assert secret not in repr(key)
    assert secret not in str(key.to_json())
    with database.reading() as connection:
        stored = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert secret not in stored
    assert find_valid(token, {key.id: key}) == key


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("::ffff:192.168.1.4", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here
