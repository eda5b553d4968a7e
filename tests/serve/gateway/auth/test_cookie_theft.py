"""Where a thief looks for a session: answers, logs, addresses, the database, other sessions."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from serve.storage.access.credentials import KeyStore
from serve.storage.database import Database
from tests.serve.api_calls import code
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.auth.signed_in import PAGE, sign_in


@pytest.fixture(autouse=True)
def _sessions_are_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)
    monkeypatch.setattr("serve.gateway.auth.key_cache.UNKNOWN_SESSION_CACHE_S", 0.0)


async def test_no_answer_and_no_line_of_the_log_shows_a_cookie_or_the_key_behind_it(
    client: httpx.AsyncClient,
    keys: KeyStore,
    log: io.StringIO,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, token = keys.create("root", ["admin"])
    await sign_in(client, token)
    cookie = client.cookies["cascade"]

    def broken(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(database.jobs, "page", broken)
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/me", {}),
        ("GET", "/v1/sessions", {}),
        ("GET", "/v1/jobs", {}),  # 500
        ("GET", "/v1/jobs/nope", {}),
        ("GET", "/nope", {}),
        ("PUT", "/v1/me", {"headers": PAGE}),  # 405
        ("POST", "/v1/jobs", {"headers": PAGE, "json": {"prompt": 1}}),
        ("POST", "/v1/jobs", {"headers": {"origin": "https://evil.example"}}),
        ("POST", "/v1/keys", {"headers": PAGE, "json": {"name": "", "key": token}}),
        ("DELETE", "/v1/sessions/current", {"headers": PAGE}),
        ("GET", "/v1/me", {"headers": {"cookie": f"cascade={cookie}"}}),  # it has ended
    ]
    answers = [await client.request(method, path, **more) for method, path, more in asked]
    assert {answer.status_code for answer in answers} >= {200, 204, 400, 401, 403, 404, 405, 500}
    shown = [answer.text + str(answer.headers) for answer in answers]
    lines = [line for line in log.getvalue().splitlines() if " httpx" not in line]
    assert any("/v1/sessions/current" in line for line in lines)
    for text in [*shown, *lines]:
        assert cookie not in text
        assert token.split("_", 2)[2] not in text


@pytest.mark.parametrize(
    "body",
    [
        '{{"key": "{token}", "remember": true}}',
        '{{"Key": "{token}"}}',
        '{{"key": ["{token}"]}}',
        '{{"key": "{token}{token}{token}{token}{token}"}}',
        '{{"key": "{token}"',
        '"{token}"',
        "key={token}",
    ],
)
async def test_a_sign_in_that_cannot_be_read_does_not_repeat_the_key(
    client: httpx.AsyncClient, keys: KeyStore, log: io.StringIO, body: str
) -> None:
    _, token = keys.create("ann", ["read"])
    headers = PAGE | {"content-type": "application/json"}
    answer = await client.post("/v1/sessions", content=body.format(token=token), headers=headers)
    assert (answer.status_code, code(answer)) == (400, "invalid_value")
    assert "set-cookie" not in answer.headers
    secret = token.split("_", 2)[2]
    assert secret not in answer.text
    assert not any(secret in line for line in log.getvalue().splitlines() if " httpx" not in line)


async def test_the_database_holds_neither_cookies_nor_keys(
    client: httpx.AsyncClient, keys: KeyStore, database: Database, database_url: str
) -> None:
    _, token = keys.create("ann", ["read"])
    session = (await sign_in(client, token)).json()
    cookie = client.cookies["cascade"]
    file = Path(make_url(database_url).database or "")
    stored = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert session["id"].encode() in stored, "the file that is searched has the session"
    assert cookie.encode() not in stored
    assert token.split("_", 2)[2].encode() not in stored


async def test_what_the_database_holds_of_a_session_is_no_cookie(
    client: httpx.AsyncClient, keys: KeyStore, database: Database
) -> None:
    """A thief of a backup has ids and hashes."""
    await sign_in(client, keys.create("ann", ["read"])[1])
    client.cookies.clear()
    (stored,) = database.sessions.all()
    for value in (stored.id, stored.token_hash, stored.key_id):
        answer = await client.get("/v1/me", headers={"cookie": f"cascade={value}"})
        assert (answer.status_code, code(answer)) == (401, "unauthorized")


async def test_an_address_never_carries_a_session(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    await sign_in(client, keys.create("ann", ["read"])[1])
    cookie = client.cookies["cascade"]
    client.cookies.clear()
    for name in ("cascade", "session", "cookie", "token"):
        assert (await client.get("/v1/me", params={name: cookie})).status_code == 401
    by_bearer = await client.get("/v1/me", headers={"authorization": f"Bearer {cookie}"})
    assert by_bearer.status_code == 401


async def test_a_second_sign_in_gets_another_cookie(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    """A cookie that an attacker has planted does not become the one of the person who signs in."""
    _, token = keys.create("ann", ["read"])
    client.cookies.set("cascade", "planted", domain="localhost.local")
    seen = {"planted"}
    for _ in range(2):
        header = (await sign_in(client, token)).headers["set-cookie"]
        seen.add(header.partition(";")[0].partition("=")[2])
    assert len(seen) == 3
    assert all(len(cookie) >= 43 for cookie in seen - {"planted"})


async def test_lists_show_nothing_of_another_key(
    client: httpx.AsyncClient, keys: KeyStore, fake_jobs: FakeJobsClient
) -> None:
    """Pictures, days, jobs and sessions; streams of events have a test of their own."""
    ann, token = keys.create("ann", ["read", "create"])
    as_ann = {"authorization": f"Bearer {token}"}
    body = {"prompt": "a secret heart", "user": "u1"}
    job = (await client.post("/v1/jobs", json=body, headers=as_ann)).json()
    await fake_jobs.run(job["id"])
    session = (await sign_in(client, token)).json()
    image = fake_jobs.images(job["id"])[0]
    client.cookies.clear()
    await sign_in(client, keys.create("bob", ["read", "create", "trusted"])[1])
    for path in (
        "/v1/library",
        "/v1/library?q=secret",
        "/v1/library?user=u1",
        f"/v1/library?cursor={job['id']}.1",
        "/v1/library/timeline?q=hea*",
        "/v1/jobs",
        "/v1/jobs?user=u1",
        "/v1/jobs?own=true",
        "/v1/sessions",
    ):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        for text in (job["id"], image.id, image.latent_id, "secret", session["id"], ann.id):
            assert text not in answer.text, path
        listed = next(iter(answer.json().values()))
        assert not [one for one in listed if not one.get("is_current")], path
    for path in (f"/v1/thumbs/{image.id}", f"/v1/images/{image.id}", f"/v1/jobs/{job['id']}"):
        known = {"if-none-match": "*"}
        assert (await client.get(path, headers=known)).status_code == 404, path
    assert (await client.get("/v1/keys")).status_code == 403
