"""A database that is away: which keys are taken meanwhile, and which caller reads what it said."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from threading import Event
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from cascade_core.errors import NotReady
from serve.gateway.auth.key_cache import CACHE_S, GRACE_S, KeyCache
from serve.storage.credentials import ApiKey, KeyStore
from serve.storage.database import Database
from tests.limits import HANG_S
from tests.serve.conftest import Bearer
from tests.serve.gateway.auth.test_access import Clock, code


async def test_known_keys_are_taken_for_a_while_when_the_database_does_not_answer(
    database: Database, keys: KeyStore
) -> None:
    keys.create("ann", ["read"])
    clock = Clock()
    key_cache = KeyCache(database, clock)
    known = await key_cache.keys()
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE api_keys RENAME TO away"))
    clock.now_s += GRACE_S - 1
    assert await key_cache.keys() == known
    clock.now_s += CACHE_S
    for _ in range(2):
        with pytest.raises(NotReady):
            await key_cache.keys()
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO api_keys"))
    clock.now_s += CACHE_S
    assert await key_cache.keys() == known


async def test_a_silent_database_holds_up_no_request_for_which_the_keys_are_known(
    database: Database, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create("ann", ["read"])
    clock = Clock()
    key_cache = KeyCache(database, clock)
    known, answers = await key_cache.keys(), Event()
    read = keys.all

    def read_late() -> list[ApiKey]:
        answers.wait(HANG_S)
        return read()

    monkeypatch.setattr(keys, "all", read_late)
    monkeypatch.setattr("serve.gateway.auth.key_cache.READ_TIMEOUT_S", 0.01)
    clock.now_s += CACHE_S
    assert [await key_cache.keys() for _ in range(3)] == [known] * 3
    key, _ = keys.create("bob", ["read"])
    answers.set()
    monkeypatch.setattr("serve.gateway.auth.key_cache.READ_TIMEOUT_S", HANG_S)
    assert key.id in await key_cache.keys()


def raising(database: Database, error: Exception) -> Callable[..., None]:
    """Return what fails with a driver's error, as the database passes it on."""

    def fail(*_: object) -> None:
        with database.translated():
            raise error

    return fail


async def test_only_the_operator_is_told_what_the_disk_said(
    client: httpx.AsyncClient,
    database: Database,
    bearer: Bearer,
    records: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, reader = bearer("admin"), bearer("read")
    full = sqlite3.OperationalError("database or disk is full")
    failing = OperationalError("INSERT", {}, full)
    monkeypatch.setattr(database, "probe", raising(database, failing))
    monkeypatch.setattr(database.jobs, "get", raising(database, failing))
    stranger = (await client.get("/readyz")).text
    told = (await client.get("/readyz", headers=root)).json()
    answer = await client.get("/v1/jobs/01J0000000000000000000000X", headers=reader)
    assert (answer.status_code, code(answer)) == (503, "not_ready")
    assert "disk is full" not in stranger + answer.text
    assert "disk is full" in told["checks"]["database"]
    assert any("disk is full" in record["message"] for record in records)
