"""A PostgreSQL server of the test run's own, from the system package's binaries."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from pwd import getpwnam
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

# Only the Unix socket in its folder leads to the server. It ends with the process that started it,
# however that one ends: then `cat` reads the end of its input.
_PROGRAM = """
initdb --pgdata=data --auth=trust --username=cascade --encoding=UTF8 --no-sync >/dev/null || exit
pg_ctl start --pgdata=data --wait --silent --log=log --options="-k $PWD -c listen_addresses= \
    -c max_connections=200 $OPTIONS" || { cat log >&2; exit 1; }
echo ready
cat >/dev/null
pg_ctl stop --pgdata=data --mode=immediate --silent
rm -rf "$PWD"
"""
_NUMBERS = count()
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 1 << 30


class PrivatePostgres:
    """A running server.

    Args:
        folder: where its socket is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_database(self, copied_url: str = "") -> str:
        """Make an empty database, or the copy of one to which nothing is connected.

        Returns its URL.
        """
        name = f"test_{next(_NUMBERS)}"
        template = _name(copied_url) or "template1"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Delete a database and end what is still connected to it.

        It stays if a connection does not end in the five seconds that PostgreSQL waits for it.
        """
        with suppress(OperationalError):
            self._execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def _url(self, database: str) -> str:
        return f"postgresql://cascade@/{database}?host={self._folder}"


def _name(url: str) -> str:
    return urlsplit(url).path.strip("/")


@contextmanager
def running(
    binaries: Path, options: str = "-c fsync=off", parent: Path | None = None
) -> Iterator[PrivatePostgres]:
    """Run a server with the ``initdb`` and ``pg_ctl`` of a folder, in a new folder.

    Args:
        binaries: that folder.
        options: of the server.
        parent: where the new folder is made; None: in the folder for temporary files.
    """
    # Not pytest's tmp_path: the server may not run as root, and only root may enter that.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
    as_user: dict[str, Any] = {}
    if (user := _unprivileged_user()) is not None:
        shutil.chown(folder, user)
        as_user = {"user": user, "group": user, "extra_groups": []}
    with subprocess.Popen(
        ["sh", "-c", _PROGRAM],
        cwd=folder,
        env=os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "OPTIONS": options},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **as_user,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield PrivatePostgres(folder)
        process.stdin.close()


def memory() -> Path | None:
    """Return a folder in memory where tests' databases find room; None if there is none.

    Each consists of 450 files. A disk can take a second to make and delete them.
    """
    is_usable = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
    return _MEMORY if is_usable else None


def find_binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs; None if there is none."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    newest = max(packaged, key=lambda path: int(path.parts[-3]), default=None)
    found = shutil.which("pg_ctl") if newest is None else str(newest)
    return None if found is None else Path(found).resolve().parent


def _unprivileged_user() -> str | None:
    """Return the user to run as; None for the current one. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"
