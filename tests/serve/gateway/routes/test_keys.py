"""An admin makes, lists and revokes keys over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from serve.gateway.auth import key_cache
from serve.storage.access.credentials import KeyStore
from serve.storage.database import Database
from tests.serve.api_calls import code
from tests.serve.gateway.auth.signed_in import PAGE, sign_in

BODY = {"name": "bob", "scopes": ["read", "create"]}


@pytest.fixture(autouse=True)
def _new_keys_are_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "CACHE_S", 0.0)


async def test_an_admin_makes_a_key_that_works_until_it_is_revoked(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    root, token = keys.create("root", ["admin"])
    admin = {"authorization": f"Bearer {token}"}
    made = await client.post("/v1/keys", json=BODY | {"requests_per_minute": 5}, headers=admin)
    assert made.status_code == 201
    bob = {"authorization": f"Bearer {made.json()['token']}"}
    me = (await client.get("/v1/me", headers=bob)).json()["key"]
    assert (me["name"], me["scopes"], me["requests_per_minute"]) == ("bob", ["create", "read"], 5)
    listed = await client.get("/v1/keys", headers=admin)
    assert [key["id"] for key in listed.json()["keys"]] == [root.id, me["id"]]
    assert made.json()["token"] not in listed.text
    revoked = await client.delete(f"/v1/keys/{me['id']}", headers=admin)
    assert revoked.json()["revoked_at"] is not None
    assert (await client.get("/v1/me", headers=bob)).status_code == 401
    assert (await client.delete("/v1/keys/unknown", headers=admin)).status_code == 404


async def test_others_may_neither_see_nor_make_keys(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    key, token = keys.create("ann", ["read", "create", "trusted"])
    ann = {"authorization": f"Bearer {token}"}
    for method, path in (
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("DELETE", f"/v1/keys/{key.id}"),
    ):
        answer = await client.request(method, path, json=BODY, headers=ann)
        assert code(answer) == "forbidden"
    assert len(keys.all()) == 1


async def test_a_session_makes_a_key_only_with_its_own_key(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    _, token = keys.create("root", ["admin"])
    _, other = keys.create("other", ["admin"])
    await sign_in(client, token)
    for body, status in ((BODY, 400), (BODY | {"key": other}, 403), (BODY | {"key": "x"}, 403)):
        answer = await client.post("/v1/keys", json=body, headers=PAGE)
        assert answer.status_code == status
    assert len(keys.all()) == 2
    assert (await client.post("/v1/keys", json=BODY | {"key": token}, headers=PAGE)).is_success


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "\x00"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
    ],
)
async def test_a_key_that_cannot_be_made_is_refused_by_field(
    client: httpx.AsyncClient, keys: KeyStore, change: dict[str, object], field: str
) -> None:
    admin = {"authorization": f"Bearer {keys.create('root', ['admin'])[1]}"}
    answer = await client.post("/v1/keys", json=BODY | change, headers=admin)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"].startswith(field)
    assert len(keys.all()) == 1


async def test_the_first_key_over_http_ends_the_access_without_keys(
    client: httpx.AsyncClient,
) -> None:
    made = await client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]})
    assert made.status_code == 201
    assert (await client.get("/v1/jobs")).status_code == 401
    admin = {"authorization": f"Bearer {made.json()['token']}"}
    assert (await client.get("/v1/jobs", headers=admin)).status_code == 200


async def test_a_key_works_at_once_and_no_longer_at_once_where_that_was_asked(
    client: httpx.AsyncClient, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "CACHE_S", 3600.0)
    admin = {"authorization": f"Bearer {keys.create('root', ['admin'])[1]}"}
    made = (await client.post("/v1/keys", json=BODY, headers=admin)).json()
    bob = {"authorization": f"Bearer {made['token']}"}
    assert (await client.get("/v1/me", headers=bob)).status_code == 200
    await client.delete(f"/v1/keys/{made['id']}", headers=admin)
    assert (await client.get("/v1/me", headers=bob)).status_code == 401


async def test_a_new_key_is_shown_although_the_database_fails_right_after(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be shown again, and it ends the access without keys."""
    create = database.keys.create

    def create_and_fail(*asked: Any) -> Any:
        made = create(*asked)
        with database.writing() as connection:
            connection.execute(text("ALTER TABLE sessions RENAME TO away"))
        return made

    monkeypatch.setattr(database.keys, "create", create_and_fail)
    made = await client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]})
    assert made.status_code == 201
    assert made.json()["token"].startswith("csk_")


async def test_the_use_of_a_session_is_a_use_of_its_key(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    """Else an admin would take a key that people sign in with for an unused one."""
    key, token = keys.create("ann", ["read"])
    await sign_in(client, token)
    await client.get("/v1/jobs")
    assert keys.get(key.id).last_used_at is not None
