"""DBOS, which records workflows and takes up what a process left unfinished."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from dbos import DBOS, DBOSConfig
from dbos import error as dbos_error
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from cascade_core.errors import NotReady
from serve.jobs.workflow_serializer import JsonSerializer, refuse_pickles
from serve.storage.connections import make_folder, sqlite_file

CONNECTIONS: Final = 5
"""DBOS' pool. Its transactions take milliseconds; its listener has one more connection."""


def launch_dbos(database_url: str, executor_id: str) -> None:
    """Start DBOS in this process; it resumes what this executor left unfinished.

    The application version is fixed, so that an upgrade resumes the jobs of the version before.
    What cannot be read is refused; :func:`serve.jobs.recovery.start_stranded` starts its job anew.
    """
    refuse_pickles()
    _prepare_file(database_url)
    is_sqlite = make_url(database_url).get_backend_name() == "sqlite"
    config = DBOSConfig(
        name="cascade",
        system_database_url=database_url,
        sys_db_pool_size=CONNECTIONS,
        db_engine_kwargs={
            "connect_args": {"factory": _SqliteConnection}
            if is_sqlite
            else _postgresql_parameters()
        },
        executor_id=executor_id,
        application_version="1",
        serializer=JsonSerializer(),
        log_level="WARNING",
    )
    DBOS(config=config)
    DBOS.launch()


def migrate_dbos(database_url: str) -> None:
    """Bring DBOS' own tables to what the installed DBOS needs; launching it does the same.

    Raises:
        NotReady: the database does not answer, or refuses; the folder of a SQLite file cannot be
            made.
    """
    try:
        _prepare_file(database_url)
        DBOS.migrate(database_url)
    except (SQLAlchemyError, sqlite3.Error, dbos_error.DBOSException) as error:
        raise NotReady(f"the workflow engine's database: {error}") from error


def _prepare_file(database_url: str) -> None:
    """Make an SQLite file whose readers and writer do not wait for each other; it remembers."""
    url = make_url(database_url)
    file = sqlite_file(url) if url.get_backend_name() == "sqlite" else None
    if file is None:
        return
    make_folder(file.parent)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


class _SqliteConnection(sqlite3.Connection):
    """Knows ``unixepoch('subsec')``, which SQLite answers with NULL before 3.42.

    DBOS uses it from Python 3.12 on, also in the defaults of the tables that it makes; so an older
    Python needs it, too, for a file that a newer one has made.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if sqlite3.sqlite_version_info < (3, 42):
            self.create_function("unixepoch", 1, _unixepoch_s)


def _unixepoch_s(modifier: str) -> float:
    if modifier != "subsec":
        raise ValueError(f"unixepoch({modifier!r}) is not known here")
    return round(time.time(), 3)


def _postgresql_parameters() -> dict[str, Any]:
    from serve.storage import postgresql

    parameters: dict[str, Any] = {"application_name": "cascade_dbos"}
    return parameters | postgresql.CONNECTION
