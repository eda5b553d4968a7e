"""Brings a database to the schema of this code, by the revisions in ``serve/migrations``."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from cascade_core.errors import DatabaseNewer
from serve import migrations
from serve.tables import jobs

_BEFORE_REVISIONS = "0001"
"""The revision that equals the tables of releases that had no revisions yet."""
_SCHEMA_LOCK = 0x4341_5343_0001
_WAL_ATTEMPTS, _WAL_PAUSE_S = 200, 0.02


@dataclass(frozen=True, slots=True)
class Migrated:
    """What an upgrade found and what it left.

    Attributes:
        before: the revision that was there; None for an empty database.
        after: the newest revision, which is there now.
    """

    before: str | None
    after: str


def upgrade(engine: Engine) -> Migrated:
    """Bring the database to the newest revision; processes that start together take turns.

    It is one transaction: it happens wholly or not at all. The tables of a release without
    revisions are taken over with their rows.

    Raises:
        DatabaseNewer: a later release has migrated the database already.
    """
    if engine.dialect.name == "sqlite":
        _switch_to_wal(engine)
    connecting = engine.connect().execution_options(writes=True)
    with connecting as connection, connection.begin(), _in_turn(connection):
        return _upgrade(connection)


@contextmanager
def _in_turn(connection: Connection) -> Iterator[None]:
    """Let one process at a time migrate, for as long as that takes; SQLite's writers do anyway."""
    if connection.dialect.name == "sqlite":
        yield
        return
    from serve.postgresql import unbounded

    with unbounded(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
        yield


def _upgrade(connection: Connection) -> Migrated:
    config = Config(attributes={"connection": connection})
    folder = str(Path(migrations.__file__).parent).replace("%", "%%")  # else an interpolation
    config.set_main_option("script_location", folder)
    scripts = ScriptDirectory.from_config(config)
    before = MigrationContext.configure(connection).get_current_revision()
    if before is None and inspect(connection).has_table(jobs.name):
        before = _BEFORE_REVISIONS
        command.stamp(config, before)
    known = [script.revision for script in scripts.walk_revisions()]  # newest first
    if before is not None and before not in known:
        raise DatabaseNewer(
            f"the database has revision {before}, this release knows up to {known[0]}; "
            "use the release that migrated it, or a later one"
        )
    if before != known[0]:
        command.upgrade(config, known[0])
    return Migrated(before, known[0])


def _switch_to_wal(engine: Engine) -> None:
    # Changing the journal mode does not wait for busy_timeout, so starters that collide retry.
    for attempt in range(_WAL_ATTEMPTS):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if attempt == _WAL_ATTEMPTS - 1:
                raise
            time.sleep(_WAL_PAUSE_S)
        finally:
            raw.close()
