"""Opens a process's connections to the database and runs transactions on them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.util import asbool

from cascade_core.errors import Conflict, NotReady
from serve.settings import CONNECTIONS

CONNECTION_ERRORS: Final = (DBAPIError, PoolTimeoutError)
"""Raised if the database rejects a statement or does not answer."""
SQL_ERRORS: Final = (SQLAlchemyError, sqlite3.Error)
"""All errors that SQLAlchemy and the SQLite driver raise."""
SQLITE_BUSY_TIMEOUT_MS: Final = 10_000
_CONNECTION_WAIT_S = 10.0
_THREAD_WAIT_S = 30.0
_MAX_REASON_CHARS = 300
_SILENT, _ALL_IN_USE = "the database does not answer", "all connections are in use"

Arguments = ParamSpec("Arguments")
ResultT = TypeVar("ResultT")


class Connections:
    """Runs transactions, at most one per connection at a time.

    Args:
        url: SQLAlchemy URL of a SQLite file or of PostgreSQL.
        connections: number of connections.
        reserved: number of connections that :meth:`run` leaves to callers with their own threads.

    Attributes:
        on_events: called with the job and the type of the events that a transaction has committed,
            on the thread that ran the transaction.

    Raises:
        NotReady: the database does not answer, or stays locked too long (from every method); the
            folder of a SQLite file cannot be made.
    """

    def __init__(self, url: str, connections: int = CONNECTIONS, reserved: int = 0) -> None:
        self._engine = open_engine(url, connections)
        # Not the process's default executor: calls to a database that does not answer would occupy
        # all its threads and block the other work of the process there.
        self._threads = ThreadPoolExecutor(max(1, connections - reserved), "database")
        # Writers poll for SQLite's lock, so one writer among many may never get it. The writers of
        # this process wait for a lock of their own instead.
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._writer: AbstractContextManager[Any] = Lock() if self._is_sqlite else nullcontext()
        self.on_events: Callable[[set[tuple[str, str]]], None] = lambda appended: None

    def close(self) -> None:
        """Close idle connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a transaction that only reads."""
        with self.translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run a transaction that writes; leaving the block commits it."""
        appended: set[tuple[str, str]] = set()
        with self.translated(), self._writer, self._engine.connect() as connection:
            yield connection.execution_options(writes=True, appended_events=appended)
            connection.commit()
        if appended:
            self.on_events(appended)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate the errors of SQLAlchemy and of the drivers into :class:`CascadeError`."""
        try:
            yield
        except IntegrityError as error:
            raise Conflict("this id is taken already") from error
        except PoolTimeoutError as error:
            raise NotReady(_SILENT, reason=_ALL_IN_USE) from error
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            reason = " ".join(str(cause).split())[:_MAX_REASON_CHARS]
            file = self._engine.url.database if self._is_sqlite else ""
            raise NotReady(_SILENT, reason=f"{file}: {reason}" if file else reason) from error

    async def run(
        self,
        do: Callable[Arguments, ResultT],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> ResultT:
        """Call a function that uses this database in a thread, as soon as a connection is free.

        Raises:
            NotReady: no connection became free in time.
            Exception: ``do`` raised it.
        """
        work = self._threads.submit(copy_context().run, partial(do, *args, **kwargs))
        result = asyncio.wrap_future(work)
        try:
            await asyncio.wait({result}, timeout=_THREAD_WAIT_S)
        except asyncio.CancelledError:
            result.cancel()
            raise
        if not result.done() and work.cancel():
            raise NotReady(_SILENT, reason=_ALL_IN_USE)
        return await result


def hold_lock(connection: Connection, key: int) -> None:
    """Wait for a lock of all processes and hold it until the transaction ends.

    SQLite has one writer at a time anyway.

    Args:
        connection: in a transaction that writes.
        key: of the lock; one number for each purpose.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def open_engine(url: str, connections: int = CONNECTIONS) -> Engine:
    """Open an engine; a SQLite file's folder is made if it is missing.

    Raises:
        NotReady: the folder cannot be made.
    """
    parsed = make_url(url)
    pool = {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _CONNECTION_WAIT_S,
    }
    if not is_sqlite(parsed):
        from serve.storage import postgresql

        engine = create_engine(parsed, pool_pre_ping=True, **pool)
        postgresql.limit_waits(engine)
        return engine
    if file := sqlite_file(parsed):
        make_folder(file.parent)
    engine = create_engine(parsed, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def is_sqlite(url: URL | str) -> bool:
    """Return True if a URL names a SQLite database."""
    return make_url(url).get_backend_name() == "sqlite"


def sqlite_file(url: URL | str) -> Path | None:
    """Return the file of a SQLite URL; None if the URL names no file or another database.

    The URL names the file by its path or, with ``uri=true``, by SQLite's URI.
    """
    url = make_url(url)
    if not is_sqlite(url):
        return None
    name = url.database or ""
    if name.startswith("file:") and asbool(url.query.get("uri", False)):
        name = unquote(urlsplit(name).path)
    return Path(name) if name and name != ":memory:" else None


def make_folder(folder: Path) -> None:
    """Make the folder of a SQLite file; only the current user may open it.

    Raises:
        NotReady: the folder cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"the database's folder {folder} cannot be made: {error.strerror}"
        raise NotReady(message) from error


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # With None the driver begins no transactions; _begin_sqlite does.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # A transaction that reads first and writes later fails at once if another process writes in
    # between; busy_timeout does not apply. So a writing transaction takes the lock when it begins.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
