"""Signing in with a browser: the cookie, what it opens, and what ends it."""

from __future__ import annotations

from datetime import timedelta
from http.cookies import SimpleCookie

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from serve.gateway import limits
from serve.gateway.application import create_app
from serve.gateway.auth import key_cache
from serve.gateway.dependencies import Services
from serve.storage.access.credentials import KeyStore
from serve.storage.access.sessions import IDLE
from serve.storage.database import Database
from serve.storage.records import utc_now
from serve.storage.schema.tables import sessions
from tests.serve.api_calls import code
from tests.serve.gateway.auth.signed_in import PAGE, sign_in
from tests.serve.served import changed


@pytest.fixture(autouse=True)
def _what_ended_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "CACHE_S", 0.0)
    monkeypatch.setattr(key_cache, "UNKNOWN_SESSION_CACHE_S", 0.0)


async def test_a_page_signs_in_and_works_without_the_key(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    key, token = keys.create("ann", ["read", "create"])
    answer = await sign_in(client, token)
    assert answer.status_code == 201
    assert token not in answer.text
    assert (await client.post("/v1/jobs", json={"prompt": "x"}, headers=PAGE)).status_code == 202
    me = (await client.get("/v1/me")).json()
    assert (me["key"]["id"], me["key"]["name"]) == (key.id, "ann")
    assert me["session"] == answer.json()
    assert me["session"]["is_current"]


@pytest.mark.parametrize(
    ("public_url", "name", "is_secure"),
    [("", "cascade", False), ("https://studio.example", "__Host-cascade", True)],
)
async def test_no_script_and_no_other_page_gets_the_cookie(
    services: Services, keys: KeyStore, public_url: str, name: str, is_secure: bool
) -> None:
    settings = services.settings.model_copy(update={"public_url": public_url})
    app = create_app(changed(services, settings=settings))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        answer = await sign_in(client, keys.create("ann", ["read"])[1])
        (header,) = answer.headers.get_list("set-cookie")
        ((set_name, cookie),) = SimpleCookie(header).items()
        assert set_name == name
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
        assert bool(cookie["secure"]) is is_secure
        assert not cookie["domain"]
        sent = {"cookie": f"{name}={cookie.value}"}
        assert (await client.get("/v1/jobs", headers=sent)).status_code == 200
        left = await client.delete("/v1/sessions/current", headers=sent | PAGE)
        assert SimpleCookie(left.headers["set-cookie"])[name]["max-age"] == "0"


async def test_a_session_has_the_rights_of_its_key_and_no_more(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    await sign_in(client, keys.create("ann", ["read"])[1])
    assert (await client.get("/v1/jobs")).status_code == 200
    for path, body in (("/v1/jobs", {"prompt": "x"}), ("/v1/keys", {})):
        assert code(await client.post(path, json=body, headers=PAGE)) == "forbidden"


@pytest.mark.parametrize("ending", ["sign out", "revoke", "idle", "forge"])
async def test_an_ended_session_opens_nothing(
    client: httpx.AsyncClient, keys: KeyStore, database: Database, ending: str
) -> None:
    key, token = keys.create("ann", ["read"])
    await sign_in(client, token)
    cookie = {"cookie": f"cascade={client.cookies['cascade']}"}
    assert (await client.get("/v1/jobs")).status_code == 200
    if ending == "sign out":
        left = await client.delete("/v1/sessions/current", headers=PAGE)
        assert left.status_code == 204
        assert "cascade" not in client.cookies
    elif ending == "revoke":
        keys.revoke(key.id)
    elif ending == "idle":
        with database.writing() as connection:
            connection.execute(update(sessions).values(used_at=utc_now() - IDLE))
    else:
        cookie = {"cookie": f"cascade={client.cookies['cascade'][:-1]}"}
    client.cookies.clear()
    answer = await client.get("/v1/jobs", headers=cookie)
    assert (answer.status_code, code(answer)) == (401, "unauthorized")
    assert "sign in" in answer.json()["error"]["message"]


async def test_a_session_ends_others_of_its_key_and_none_of_another(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    bob = (await sign_in(client, keys.create("bob", ["read"])[1])).json()["id"]
    _, token = keys.create("ann", ["read"])
    first = (await sign_in(client, token)).json()["id"]
    second = (await sign_in(client, token)).json()["id"]
    listed = (await client.get("/v1/sessions")).json()["sessions"]
    assert [one["id"] for one in listed if one["is_current"]] == [second]
    assert {one["id"] for one in listed} == {first, second}
    assert (await client.delete(f"/v1/sessions/{bob}", headers=PAGE)).status_code == 404
    assert (await client.delete(f"/v1/sessions/{first}", headers=PAGE)).status_code == 204
    assert (await client.get("/v1/sessions")).json()["sessions"][0]["id"] == second
    by_key = {"authorization": f"Bearer {token}"}
    assert (await client.delete("/v1/sessions/current", headers=by_key)).status_code == 404


async def test_use_is_recorded_once_a_minute(
    client: httpx.AsyncClient, keys: KeyStore, database: Database
) -> None:
    await sign_in(client, keys.create("ann", ["read"])[1])
    long_ago = utc_now() - timedelta(hours=1)
    with database.writing() as connection:
        connection.execute(update(sessions).values(used_at=long_ago))
    await client.get("/v1/jobs")
    (used,) = database.sessions.all()
    assert used.used_at > long_ago
    await client.get("/v1/jobs")
    assert database.sessions.all() == [used]


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"origin": "https://evil.example"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost:3000"}, False),
        ({}, False),
        (PAGE, True),
    ],
)
async def test_another_sites_page_cannot_use_the_cookie(
    client: httpx.AsyncClient, keys: KeyStore, headers: dict[str, str], allowed: bool
) -> None:
    await sign_in(client, keys.create("ann", ["read", "create"])[1])
    upload = {"image": ("a.png", b"no picture", "image/png")}
    answer = await client.post("/v1/images/variations", files=upload, headers=headers)
    assert (code(answer) == "cross_origin") is not allowed
    assert (answer.status_code == 403) is not allowed


async def test_another_sites_page_cannot_sign_a_browser_in(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    _, token = keys.create("ann", ["read"])
    page = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    answer = await client.post("/v1/sessions", json={"key": token}, headers=page)
    assert (answer.status_code, code(answer)) == (403, "cross_origin")
    assert "set-cookie" not in answer.headers


async def test_a_key_in_a_header_is_used_even_beside_a_cookie(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    await sign_in(client, keys.create("ann", ["read"])[1])
    bob, token = keys.create("bob", ["read", "create"])
    for header, status in ((f"Bearer {token}", 200), ("Bearer wrong", 401)):
        answer = await client.get("/v1/me", headers={"authorization": header})
        assert answer.status_code == status
        if answer.is_success:
            assert (answer.json()["key"]["id"], answer.json()["session"]) == (bob.id, None)


async def test_wrong_keys_are_refused_and_tries_are_counted(
    client: httpx.AsyncClient, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRONG_KEYS_PER_CLIENT", 3)
    monkeypatch.setattr(limits, "SIGN_INS_PER_KEY", 2)
    _, token = keys.create("ann", ["read"])
    revoked, revoked_token = keys.create("bob", ["read"])
    keys.revoke(revoked.id)
    for wrong in (revoked_token, token[:-1], "x"):
        answer = await sign_in(client, wrong)
        assert (answer.status_code, code(answer)) == (401, "unauthorized")
    answer = await sign_in(client, "x")
    assert (answer.status_code, code(answer)) == (429, "rate_limited")
    assert "retry-after" in answer.headers
    # A stranger behind the same address has not kept the key's owner out.
    answers = [await sign_in(client, token) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]


async def test_wrong_keys_keep_no_valid_key_out_where_all_clients_have_one_address(
    services: Services, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRONG_KEYS_OF_ALL", 1)
    app = create_app(changed(services, knows_clients=False))
    _, token = keys.create("ann", ["read"])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        statuses = [(await sign_in(client, key)).status_code for key in ("x", "y", token)]
    assert statuses == [401, 429, 201]


async def test_the_sessions_of_a_key_share_one_limit(
    client: httpx.AsyncClient, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a key would send as many requests as it has patience to sign in."""
    monkeypatch.setattr("serve.gateway.auth.middleware.SESSION_REQUESTS_PER_MINUTE", 2)
    _, token = keys.create("ann", ["read"])
    await sign_in(client, keys.create("bob", ["read"])[1])
    bob = {"cookie": f"cascade={client.cookies['cascade']}"}
    for expected in (200, 200, 429):
        client.cookies.clear()
        await sign_in(client, token)
        assert (await client.get("/v1/jobs")).status_code == expected
    client.cookies.clear()
    assert (await client.get("/v1/jobs", headers=bob)).status_code == 200


async def test_a_key_that_may_not_read_cannot_sign_in(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    answer = await sign_in(client, keys.create("ann", ["create"])[1])
    assert (answer.status_code, code(answer)) == (403, "forbidden")


async def test_without_keys_there_is_no_sign_in_and_this_machine_needs_no_session(
    client: httpx.AsyncClient,
) -> None:
    answer = await sign_in(client, "csk_x")
    assert (answer.status_code, code(answer)) == (409, "conflict")
    assert (await client.get("/v1/me")).json() == {"key": None, "session": None}
    stale = {"cookie": "cascade=from-another-service"}
    assert (await client.get("/v1/jobs", headers=stale)).status_code == 200


async def test_a_session_begun_on_another_gateway_is_known_at_once(
    app: FastAPI,
    services: Services,
    client: httpx.AsyncClient,
    keys: KeyStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_cache, "CACHE_S", 3600.0)
    _, token = keys.create("ann", ["read"])
    other = create_app(changed(services))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(other), base_url="http://localhost"
    ) as second:
        await second.get("/v1/jobs")  # it has read the keys and sessions now
        await sign_in(client, token)
        cookie = {"cookie": f"cascade={client.cookies['cascade']}"}
        assert (await second.get("/v1/jobs", headers=cookie)).status_code == 200
