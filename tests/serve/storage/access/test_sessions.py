"""Browser sessions as the database holds them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from serve.storage.access import sessions as sessions_module
from serve.storage.access.credentials import KeyStore
from serve.storage.access.sessions import IDLE, LIFETIME
from serve.storage.database import Database
from serve.storage.records import utc_now
from serve.storage.schema.tables import sessions


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("new_database_url")(request.param)
    return url


def test_a_cookie_is_stored_as_a_hash_and_has_256_bits(keys: KeyStore, database: Database) -> None:
    key, _ = keys.create("ann", ["read"])
    session, token = database.sessions.create(key.id)
    assert len(token) == 43
    assert token not in repr(session)
    with database.reading() as connection:
        stored = str(connection.execute(text("SELECT * FROM sessions")).all())
    assert token not in stored
    assert database.sessions.all() == [session]


@pytest.mark.parametrize("change", [{"used_at": IDLE}, {"expires_at": timedelta()}])
def test_a_session_ends_unused_or_old_and_the_next_sign_in_deletes_it(
    keys: KeyStore, database: Database, change: dict[str, timedelta]
) -> None:
    key, _ = keys.create("ann", ["read"])
    database.sessions.create(key.id)
    with database.writing() as connection:
        connection.execute(
            update(sessions).values({name: utc_now() - ago for name, ago in change.items()})
        )
    (ended,) = database.sessions.all()
    assert not ended.is_valid(key)
    later, _ = database.sessions.create(key.id)
    assert database.sessions.all() == [later]
    assert later.is_valid(key)


def test_use_keeps_a_session_up_to_its_lifetime(keys: KeyStore, database: Database) -> None:
    key, _ = keys.create("ann", ["read"])
    session, _ = database.sessions.create(key.id)
    with database.writing() as connection:
        connection.execute(update(sessions).values(used_at=utc_now() - IDLE / 2))
    database.sessions.touch(session.id)
    (used,) = database.sessions.all()
    assert used.used_at >= session.used_at
    assert used.ends_at <= session.created_at + LIFETIME


def test_a_revoked_keys_sessions_have_ended(keys: KeyStore, database: Database) -> None:
    key, _ = keys.create("ann", ["read"])
    session, _ = database.sessions.create(key.id)
    assert session.is_valid(key)
    assert not session.is_valid(keys.revoke(key.id))
    assert not session.is_valid(None)


def test_one_key_ends_only_its_own_sessions(keys: KeyStore, database: Database) -> None:
    ann, bob = keys.create("ann", ["read"])[0], keys.create("bob", ["read"])[0]
    session, _ = database.sessions.create(ann.id)
    assert not database.sessions.end(bob.id, session.id)
    assert database.sessions.end(ann.id, session.id)
    assert not database.sessions.end(ann.id, session.id)
    assert database.sessions.all() == []


def test_a_keys_least_used_sessions_make_room_for_new_ones(
    keys: KeyStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_PER_KEY", 3)
    ann, bob = keys.create("ann", ["read"])[0], keys.create("bob", ["read"])[0]
    others, _ = database.sessions.create(bob.id)
    first, second, third = (database.sessions.create(ann.id)[0] for _ in range(3))
    database.sessions.touch(first.id)
    fourth, _ = database.sessions.create(ann.id)
    left = {session.id for session in database.sessions.all()}
    assert left == {others.id, first.id, third.id, fourth.id}
    assert second.id not in left
