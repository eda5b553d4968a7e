"""Brings a database to the schema of this code, by the revisions in ``migrations``."""

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
from sqlalchemy import Connection, Engine, delete, insert, inspect, select, text

from cascade_core.errors import DatabaseNewer, DatabaseOlder
from serve.storage.schema import migrations
from serve.storage.schema.tables import VERSION_TABLE, jobs, schema_compatibility

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
    """Bring the database to the newest revision; one process at a time.

    It is one transaction: it happens wholly or not at all. The tables of a later release are left
    as they are and used, if that release says that this one can read them.

    Raises:
        DatabaseNewer: a later release has migrated the database, and this one cannot read it.
        DatabaseOlder: a version from before the first release has made the tables.
    """
    if engine.dialect.name == "sqlite":
        _switch_to_wal(engine)
    connecting = engine.connect().execution_options(writes=True)
    with connecting as connection, connection.begin(), _in_turn(connection):
        return _upgrade(connection)


@contextmanager
def _in_turn(connection: Connection) -> Iterator[None]:
    """Let one process at a time migrate, however long that takes; SQLite's writers do so anyway."""
    if connection.dialect.name == "sqlite":
        yield
        return
    from serve.storage.postgresql import without_wait_limits

    with without_wait_limits(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
        yield


def _upgrade(connection: Connection) -> Migrated:
    config = Config(attributes={"connection": connection})
    folder = str(Path(migrations.__file__).parent).replace("%", "%%")  # configparser reads "%"
    config.set_main_option("script_location", folder)
    scripts = ScriptDirectory.from_config(config)
    options = {"version_table": VERSION_TABLE}
    before = MigrationContext.configure(connection, opts=options).get_current_revision()
    if before is None and inspect(connection).has_table(jobs.name):
        raise DatabaseOlder(
            "the database was made before the first release of Cascade Serve: export its jobs with "
            "the version that made it (cascade export), and import them into an empty one here "
            "(cascade import); make API keys and preferences again"
        )
    known = [script.revision for script in scripts.walk_revisions()]  # newest first
    if before is not None and before not in known:
        _check_readable(connection, before, known[0])
        return Migrated(before, before)
    if before != known[0]:
        command.upgrade(config, known[0])
        readable_from = max(script.module.readable_from for script in scripts.walk_revisions())
        connection.execute(delete(schema_compatibility))
        connection.execute(insert(schema_compatibility).values(readable_from=readable_from))
    return Migrated(before, known[0])


def _check_readable(connection: Connection, found: str, newest_known: str) -> None:
    """Refuse the tables of a later release, unless it says that this release can read them."""
    readable_from = None
    if inspect(connection).has_table(schema_compatibility.name):
        readable_from = connection.execute(select(schema_compatibility.c.readable_from)).scalar()
    if readable_from is None or newest_known < readable_from:
        raise DatabaseNewer(
            f"the database has revision {found}, this release knows up to {newest_known}; "
            "use the release that migrated it, or a later one"
        )


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
