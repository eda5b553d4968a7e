"""DBOS, which records workflows and takes up what a process left unfinished."""

from __future__ import annotations

import sqlite3

from dbos import DBOS, DBOSConfig
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url

_CONNECTIONS = 20
_PRAGMAS = (
    "busy_timeout=30000",
    "foreign_keys=ON",
    "journal_mode=WAL",
    "synchronous=NORMAL",
)


def launch_dbos(database_url: str, executor_id: str) -> None:
    """Start DBOS in this process; it resumes what this executor left unfinished.

    The application version is fixed, so that an upgrade resumes the jobs of the version before.
    """
    is_sqlite = make_url(database_url).get_backend_name() == "sqlite"
    config = DBOSConfig(
        name="cascade",
        system_database_url=database_url,
        system_database_engine=_sqlite_engine(database_url) if is_sqlite else None,
        executor_id=executor_id,
        application_version="1",
        log_level="WARNING",
    )
    DBOS(config=config)
    DBOS.launch()


def _sqlite_engine(url: str) -> Engine:
    """Return an engine as DBOS makes it, but whose readers and writer do not wait for each other.

    Nor does anybody wait for the disk: a killed process loses nothing by that, and a power cut
    takes no more than it takes of the jobs' own rows.
    """
    engine = create_engine(url, pool_size=_CONNECTIONS)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine
