"""The audit log: appended to alone, and what a change of it shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cascade_core.errors import CascadeError
from serve.storage.assets.asset import Actor
from serve.storage.assets.audit_log import NO_HASH
from serve.storage.database import Database

ANN = Actor("key-ann", "ann", "discord:1")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def filled(database: Database) -> Database:
    """A database with three events."""
    for number in range(3):
        database.audit.record("export", ANN, {"count": number, "price": 0.1 * number})
    return database


def run_as_superuser(database: Database, statement: str) -> None:
    """Change the table behind its triggers, as the database's owner can."""
    is_sqlite = database._engine.dialect.name == "sqlite"
    with database.writing() as connection:
        if is_sqlite:
            connection.execute(text("DROP TRIGGER IF EXISTS audit_events_no_update"))
            connection.execute(text("DROP TRIGGER IF EXISTS audit_events_no_delete"))
        else:
            connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER ALL"))
        connection.execute(text(statement))


def test_a_chain_is_sound_and_its_newest_hash_is_the_last_events(filled: Database) -> None:
    (report,) = filled.audit.verify()
    newest = filled.audit.page(None, None, 10)
    assert (report.events, report.newest_hash, report.problem) == (3, newest[0].hash, "")
    assert [one.details["count"] for one in newest] == [2, 1, 0]
    assert newest[0].actor == ANN
    older = filled.audit.page(None, newest[0].id, 10)
    assert [one.number for one in older] == [2, 1]


def test_a_service_without_events_has_no_chain(database: Database) -> None:
    assert database.audit.verify() == []


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"]
)
def test_the_database_itself_refuses_to_change_events(filled: Database, statement: str) -> None:
    with pytest.raises((CascadeError, SQLAlchemyError)), filled.writing() as connection:
        connection.execute(text(statement))
    assert [one.problem for one in filled.audit.verify()] == [""]


@pytest.mark.parametrize(
    ("statement", "problem", "sound"),
    [
        ("UPDATE audit_events SET action = 'x' WHERE number = 2", "event 2 was changed", 1),
        ("UPDATE audit_events SET key = 'x' WHERE number = 1", "event 1 was changed", 0),
        ("""UPDATE audit_events SET "user" = NULL WHERE number = 3""", "event 3 was changed", 2),
        ("""UPDATE audit_events SET details = '{"count": 9}' WHERE number = 1""",
         "event 1 was changed", 0),
        ("UPDATE audit_events SET at = '2026-01-01 00:00:00' WHERE number = 2",
         "event 2 was changed", 1),
        ("DELETE FROM audit_events WHERE number = 2", "event 2 is missing", 1),
        ("DELETE FROM audit_events WHERE number = 1", "event 1 is missing", 0),
        ("UPDATE audit_events SET number = 4 WHERE number = 3", "event 3 is missing", 2),
    ],
)  # fmt: skip
def test_what_was_changed_behind_the_service_is_found(
    filled: Database, statement: str, problem: str, sound: int
) -> None:
    run_as_superuser(filled, statement)
    (report,) = filled.audit.verify()
    assert (report.problem, report.events) == (problem, sound)
    assert (report.newest_hash == NO_HASH) is (sound == 0)
