"""What strangers try: other people's ids, forged and odd credentials."""

from __future__ import annotations

import asyncio
import io
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import docs
from serve.gateway import readiness
from serve.storage.access import credentials as keys_module
from serve.storage.access.credentials import KeyStore
from serve.storage.blobs.blob_store import BlobStore
from tests.limits import HANG_S
from tests.serve.attacker import (
    ENDLESS,
    OF_NOBODY,
    OPEN_TO_ALL,
    body_for,
    in_our_form,
    make_things,
    routes,
)
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

HTTP_API = Path(docs.__file__).parent / "http-api.md"
ALL_SCOPES = {"create", "read", "review", "publish", "trusted"}


@pytest.fixture(autouse=True)
def _every_key_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)


async def test_no_route_answers_without_a_key(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    things = await make_things(client, fake_jobs, bearer("create", "read"))
    closed = [route for route in routes(app) if route not in OPEN_TO_ALL]
    assert len(closed) >= 10
    for method, path in [*closed, ("GET", "/v1/unknown"), ("POST", "/v1/jobs/")]:
        answer = await client.request(method, path.format(**things), **body_for(method, path))
        assert (answer.status_code, in_our_form(answer)["code"]) == (401, "unauthorized"), path


async def test_every_route_asks_for_a_scope(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    things = await make_things(client, fake_jobs, bearer("create", "read"))
    scopeless = bearer("trusted")
    for method, path in set(routes(app)) - OPEN_TO_ALL:
        answer = await client.request(
            method, path.format(**things), headers=scopeless, **body_for(method, path)
        )
        assert (answer.status_code, in_our_form(answer)["code"]) == (403, "forbidden"), path


@pytest.mark.parametrize("scope", ["read", "create", "review", "publish"])
async def test_each_route_takes_keys_with_its_documented_scope_and_no_other(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer, scope: str
) -> None:
    things = await make_things(client, fake_jobs, bearer("create", "read"))
    documented = scopes_in_docs()
    limited, everything = bearer(scope), bearer(*sorted(ALL_SCOPES))
    for method, path in sorted(set(routes(app)) - OPEN_TO_ALL - ENDLESS):
        needed = documented.get((method, path), "create")  # edits, which OpenAI has, are refused
        options = body_for(method, path)
        given = path.format(**things)
        answer = await client.request(method, given, headers=limited, **options)
        if needed == scope:
            assert answer.status_code in (200, 201, 202, 204, 400, 404, 409, 415, 501), path
        else:
            assert (answer.status_code, in_our_form(answer)["code"]) == (403, "forbidden"), path
            assert repr(needed) in in_our_form(answer)["message"], path
        answer = await client.request(method, given, headers=everything, **options)
        assert (answer.status_code == 403) == (needed == "admin"), path


def scopes_in_docs() -> dict[tuple[str, str], str]:
    """Return the scope of each route, by its method and path, as the documentation has it."""
    rows = re.findall(r"^\| `(\w+) (\S+)` \| (\w+) \|", HTTP_API.read_text(), re.MULTILINE)
    return {(method, path): scope for method, path, scope in rows}


async def test_other_peoples_things_are_answered_as_if_they_did_not_exist(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob = bearer("create", "read"), bearer("create", "read")
    trusted, root = bearer("create", "read", "trusted"), bearer("admin")
    things = await make_things(client, fake_jobs, ann)
    unknown = {name: "01JXQ5W8T3M4N6P7R8S9T0V1W2" for name in things} | {"name": things["name"]}
    by_id = [route for route in routes(app) if "{" in route[1] and route not in OPEN_TO_ALL]
    by_id = [route for route in by_id if route[1] not in OF_NOBODY]
    assert len(by_id) >= 7

    # What destroys comes last, and a part before its whole, so that the admin finds everything.
    def order(route: tuple[str, str]) -> tuple[bool, int, tuple[str, str]]:
        return route[0] == "DELETE", -route[1].count("/"), route

    for method, path in sorted(by_id, key=order):
        options = body_for(method, path)
        for stranger in (bob, trusted):
            foreign = await client.request(
                method, path.format(**things), headers=stranger, **options
            )
            missing = await client.request(
                method, path.format(**unknown), headers=stranger, **options
            )
            assert foreign.status_code == 404, (method, path)
            assert {**in_our_form(foreign), "request_id": ""} == {
                **in_our_form(missing),
                "request_id": "",
            }
        known = await client.request(method, path.format(**things), headers=root, **options)
        # The job has ended with a picture: it does not go on, and the latent is deleted with that.
        conflicts = ("/continue", "/redo", "/{latent_id}") if method != "GET" else ()
        assert known.is_success or (path.endswith(conflicts) and known.status_code == 409), path
        if path.endswith("/events"):
            named = "comparison_id" if "{comparison_id}" in path else "job_id"
            assert things[named] in known.text


async def test_another_callers_latent_cannot_be_varied(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob = bearer("create", "read"), bearer("create", "read")
    latent_id = (await make_things(client, fake_jobs, ann))["latent_id"]
    body = {"kind": "vary_details", "latent_id": latent_id}
    for more in ({}, {"user": "ann"}):
        answer = await client.post("/v1/jobs", json=body | more, headers=bob)
        assert answer.status_code == 404
    assert (await client.post("/v1/jobs", json=body, headers=ann)).status_code == 202


async def test_answers_do_not_tell_which_keys_exist(
    client: httpx.AsyncClient, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, token = keys.create("ann", ["read"])
    revoked, revoked_token = keys.create("bob", ["read"])
    keys.revoke(revoked.id)
    secret = token.split("_", 2)[2]
    tokens = [
        f"csk_{'0' * 12}_{secret}",
        f"csk_{key.id}_{'A' * 43}",
        f"csk_{key.id}_",
        f"csk_{key.id}_{secret[:-1]}",
        f"csk_{key.id}_{secret}A",
        f"csk_{revoked.id}_{secret}",
        revoked_token,
        token.upper(),
        token.removeprefix("csk_"),
        secret,
        key.id,
        "sk-proj-abc",
    ]
    hashed: list[str] = []
    hash_one = keys_module._hashed
    monkeypatch.setattr(keys_module, "_hashed", lambda text: hashed.append(text) or hash_one(text))
    answers = [
        await client.get("/v1/jobs", headers={"authorization": f"Bearer {item}"}) for item in tokens
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len(hashed) == len(tokens)
    shown = {json.dumps({**in_our_form(answer), "request_id": ""}) for answer in answers}
    assert len(shown) == 1
    names = [set(answer.headers) for answer in answers]
    assert all(found == names[0] for found in names)


async def test_an_odd_authorization_header_is_401(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    good = bearer("read")["authorization"].encode()
    token = good.removeprefix(b"Bearer ")
    odd = [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [token],
        [b"Basic " + token],
        [b"Bearer\t" + token],
        [b"Bearer " + token + b" x"],
        [b"Bearer " + token + b", Bearer " + token],
        [b"Bearer " + token + b"\xff"],
        [b"Bearer " + b"x" * 20_000],
        [good, good],
        [good, b"Bearer x"],
    ]
    for values in odd:
        sent = [(b"authorization", value) for value in values]
        answer = await client.get("/v1/jobs", headers=sent)
        assert answer.status_code == 401, values
        assert answer.headers["www-authenticate"] == "Bearer"
    for value in (good, b"bearer " + token, b"BEARER  " + token):
        answer = await client.get("/v1/jobs", headers=[(b"authorization", value)])
        assert answer.status_code == 200


async def test_a_key_in_the_query_or_a_cookie_opens_nothing(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    token = bearer("admin")["authorization"].removeprefix("Bearer ")
    for name in ("api_key", "access_token", "token", "authorization"):
        assert (await client.get("/v1/jobs", params={name: token})).status_code == 401
    assert (await client.get("/v1/jobs", headers={"cookie": f"key={token}"})).status_code == 401
    assert (await client.get("/v1/jobs", headers={"x-api-key": token})).status_code == 401


async def test_neither_keys_nor_signatures_are_logged(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer, log: io.StringIO
) -> None:
    root = bearer("admin")
    image_id = (await make_things(client, fake_jobs, root))["image_id"]
    shared = await client.post(f"/v1/images/{image_id}/share", json={}, headers=root)
    url = shared.json()["url"]
    assert (await client.get(url)).status_code == 200
    assert (await client.get(url[:-1])).status_code == 403
    # httpx tells on the client's side what it sends; the service's own loggers count here.
    lines = [line for line in log.getvalue().splitlines() if " httpx" not in line]
    assert any("/v1/shared/" in line for line in lines)
    signature = url.rpartition("=")[2]
    secret = root["authorization"].split("_", 2)[2]
    assert not any(signature[:-1] in line or secret in line for line in lines)


async def test_a_stranger_cannot_make_the_service_read_a_body(
    live_client: httpx.AsyncClient, bearer: Bearer
) -> None:
    """The answer comes although the body that was announced never does."""
    bearer("admin")
    reader, writer = await asyncio.open_connection("127.0.0.1", live_client.base_url.port)
    head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write((head + "Content-Length: 60000\r\n\r\n{").encode())
    async with asyncio.timeout(HANG_S):
        answer = await reader.readuntil(b"\r\n")
    writer.close()
    assert b"401" in answer


class Check(asyncio.Future[dict[str, str]]):
    """A readiness check under way that knows when ``wanted`` requests wait for it."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.wanted = wanted
        self.all_wait = asyncio.Event()

    def add_done_callback(self, *args: Any, **more: Any) -> None:
        super().add_done_callback(*args, **more)
        self.wanted -= 1
        if self.wanted == 0:
            self.all_wait.set()


async def test_a_flood_of_readiness_checks_costs_one(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    app.state.services.readiness._checking = check = Check(wanted=20)
    asking = [asyncio.create_task(client.get("/readyz")) for _ in range(20)]
    async with asyncio.timeout(HANG_S):
        await check.all_wait.wait()
    check.set_result({"only": "ready"})
    assert [(await answer).json()["checks"] for answer in asking] == [{"only": "ready"}] * 20
    assert "blobs" in (await client.get("/readyz")).json()["checks"]


async def test_readiness_checks_in_a_row_cost_one(
    client: httpx.AsyncClient, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[None] = []

    async def probe() -> None:
        probed.append(None)

    monkeypatch.setattr(blobs, "probe", probe)
    monkeypatch.setattr(readiness, "KEPT_S", 3600.0)
    assert len({(await client.get("/readyz")).status_code for _ in range(10)}) == 1
    assert len(probed) == 1
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    await client.get("/readyz")
    assert len(probed) == 2
