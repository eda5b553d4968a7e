"""Starts DBOS, which records workflows and resumes what a process left unfinished."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime
from typing import Any, Final

from dbos import DBOS, DBOSClient, DBOSConfig
from dbos import error as dbos_error

from cascade_core.errors import DatabaseOlder, NotReady
from serve.jobs.workflow_serializer import JsonSerializer, refuse_pickles
from serve.storage.connections import SQL_ERRORS, is_sqlite, make_folder, sqlite_file

CONNECTIONS: Final = 5
"""DBOS' pool. Its transactions take milliseconds; its listener has one more connection."""
APPLICATION_VERSION: Final = "cascade-1"
"""Of all releases: an upgrade resumes the jobs of the release before."""
_VERSION_BEFORE_RELEASES: Final = "1"
_ENDED: Final = ["SUCCESS", "ERROR", "CANCELLED"]
_BATCH: Final = 500


def launch_dbos(database_url: str, executor_id: str) -> None:
    """Start DBOS in this process; it resumes what this executor left unfinished.

    The application version is fixed, so that an upgrade resumes the jobs of the version before.
    DBOS refuses records that it cannot read; :func:`serve.jobs.recovery.start_orphaned` starts
    their jobs again.
    """
    refuse_pickles()
    _prepare_file(database_url)
    config = DBOSConfig(
        name="cascade",
        system_database_url=_with_connection_limits(database_url),
        sys_db_pool_size=CONNECTIONS,
        db_engine_kwargs={
            "connect_args": {"factory": _SqliteConnection}
            if is_sqlite(database_url)
            else {"application_name": "cascade_dbos"}
        },
        executor_id=executor_id,
        application_version=APPLICATION_VERSION,
        serializer=JsonSerializer(),
        log_level="WARNING",
    )
    DBOS(config=config)
    DBOS.launch()


def migrate_dbos(database_url: str) -> None:
    """Upgrade DBOS' own tables to what the installed DBOS needs; launching it does the same.

    Raises:
        NotReady: the database does not answer or refuses, or the folder of a SQLite file cannot
            be made.
        DatabaseOlder: a version from before the first release has recorded workflows there.
    """
    try:
        _prepare_file(database_url)
        url = _with_connection_limits(database_url)
        DBOS.migrate(url)
        _check_version(url)
    except (*SQL_ERRORS, dbos_error.DBOSException) as error:
        raise NotReady(f"the workflow engine's database: {error}") from error


def _check_version(database_url: str) -> None:
    """Refuse the workflows of a version from before the first release."""
    client = DBOSClient(system_database_url=database_url, retry_connection_errors=False)
    try:
        found = client.list_workflows(
            app_version=_VERSION_BEFORE_RELEASES, limit=1, load_input=False, load_output=False
        )
    finally:
        client.destroy()
    if found:
        raise DatabaseOlder(
            "the workflow engine's database was made before the first release of Cascade Serve: "
            "export the jobs with the version that made it (cascade export), and import them with "
            "empty databases here (cascade import)"
        )


async def delete_workflows(before: datetime) -> int:
    """Delete the records of workflows that ended before a time; returns how many.

    DBOS would keep them forever. The jobs themselves stay in our own tables; nothing reads the
    records of an ended one.
    """
    count = 0
    while True:  # in small transactions, so that jobs can write in between
        ended = await DBOS.list_workflows_async(
            status=_ENDED,
            completed_before=before.isoformat(),
            limit=_BATCH,
            load_input=False,
            load_output=False,
        )
        if ended:
            await DBOS.delete_workflows_async([workflow.workflow_id for workflow in ended])
        count += len(ended)
        if len(ended) < _BATCH:
            return count


def _prepare_file(database_url: str) -> None:
    """Make an SQLite file in WAL mode: its readers and its writer do not wait for each other."""
    file = sqlite_file(database_url)
    if file is None:
        return
    make_folder(file.parent)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


class _SqliteConnection(sqlite3.Connection):
    """Defines ``unixepoch('subsec')``, which SQLite answers with NULL before 3.42.

    DBOS uses it from Python 3.12 on, also in the defaults of the tables that it makes. An older
    Python therefore needs it, too, for a file that a newer one has made.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if sqlite3.sqlite_version_info < (3, 42):
            self.create_function("unixepoch", 1, _unixepoch_s)


def _unixepoch_s(modifier: str) -> float:
    if modifier != "subsec":
        raise ValueError(f"unixepoch({modifier!r}) is not known here")
    return round(time.time(), 3)


def _with_connection_limits(database_url: str) -> str:
    """Return the URL with time-outs of connections; SQLite has none."""
    if is_sqlite(database_url):
        return database_url
    from serve.storage import postgresql

    return postgresql.with_connection_limits(database_url)
