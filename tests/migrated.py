"""New databases with all tables: copies of one, because migrating takes longer than most tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from serve.jobs.dbos_runtime import migrate_dbos
from serve.storage.connections import make_folder, sqlite_file
from serve.storage.database import Database


def migrate(url: str) -> None:
    """Make our tables and those of the workflow engine in an empty database."""
    with closing(Database(url)) as database:
        database.create_tables()
    migrate_dbos(url)


def with_tables(url: str) -> str:
    """Make the SQLite file of a URL, with all tables; returns the URL."""
    file = sqlite_file(url)
    assert file is not None
    assert not file.exists()
    make_folder(file.parent)
    file.write_bytes(_migrated_file())
    return url


@cache
def _migrated_file() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "cascade.db"
        migrate(f"sqlite:///{file}")
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return file.read_bytes()
