"""The keys in memory: how often they are read, and which are taken while the database is away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from threading import Event

import pytest
from sqlalchemy import text

from cascade_core.errors import NotReady
from serve.gateway.auth.key_cache import (
    CACHE_S,
    GRACE_S,
    TOUCH_EVERY_S,
    UNKNOWN_SESSION_CACHE_S,
    KeyCache,
)
from serve.storage.access.credentials import ApiKey, KeyStore
from serve.storage.access.sessions import Session
from serve.storage.database import Database
from tests.limits import HANG_S
from tests.serve.clock import Clock


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


async def test_a_key_in_use_stays_valid_while_the_database_does_not_answer_and_ends_when_revoked(
    database: Database, keys: KeyStore
) -> None:
    """Open streams ask for it."""
    key, _ = keys.create("ann", ["read"])
    clock = Clock()
    key_cache = KeyCache(database, clock)
    assert await key_cache.is_valid(key.id)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE api_keys RENAME TO away"))
    clock.now_s += GRACE_S + CACHE_S
    assert await key_cache.is_valid(key.id)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO api_keys"))
    keys.revoke(key.id)
    clock.now_s += CACHE_S
    assert not await key_cache.is_valid(key.id)


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


async def test_a_known_session_goes_on_while_the_database_does_not_answer(
    database: Database, keys: KeyStore
) -> None:
    key, _ = keys.create("ann", ["read"])
    session, cookie = database.sessions.create(key.id)
    clock = Clock()
    key_cache = KeyCache(database, clock)
    assert await key_cache.session(cookie) == (session, key)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE sessions RENAME TO away"))
    clock.now_s += GRACE_S - 1
    assert await key_cache.session(cookie) == (session, key)
    clock.now_s += CACHE_S
    with pytest.raises(NotReady):
        await key_cache.session(cookie)
    assert await key_cache.is_valid_session(session)


async def test_forged_cookies_have_the_sessions_read_once_however_many_come(
    database: Database, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create("ann", ["read"])
    readings = 0
    read = database.sessions.all

    def counted() -> list[Session]:
        nonlocal readings
        readings += 1
        return read()

    clock = Clock()
    key_cache = KeyCache(database, clock)
    await key_cache.keys()
    monkeypatch.setattr(database.sessions, "all", counted)
    clock.now_s += UNKNOWN_SESSION_CACHE_S
    forged = [key_cache.session(f"forged {number}") for number in range(100)]
    assert await asyncio.gather(*forged) == [None] * 100
    assert readings == 1
