"""DBOS, which records workflows and takes up what a process left unfinished."""

from __future__ import annotations

import sqlite3

from dbos import DBOS, DBOSConfig
from sqlalchemy.engine import make_url


def launch_dbos(database_url: str, executor_id: str) -> None:
    """Start DBOS in this process; it resumes what this executor left unfinished.

    The application version is fixed, so that an upgrade resumes the jobs of the version before.
    """
    if make_url(database_url).get_backend_name() == "sqlite":
        _use_wal(make_url(database_url).database or "")
    config = DBOSConfig(
        name="cascade",
        system_database_url=database_url,
        executor_id=executor_id,
        application_version="1",
        log_level="WARNING",
    )
    DBOS(config=config)
    DBOS.launch()


def _use_wal(path: str) -> None:
    """Let readers and the writer of an SQLite file not wait for each other; the file remembers."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
