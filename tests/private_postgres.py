"""A PostgreSQL server of the test run's own, from the system package's binaries."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from pwd import getpwnam
from typing import Any

from sqlalchemy import create_engine

_NO_TCP_NO_FSYNC = "-c listen_addresses= -c fsync=off -c max_connections=200"


class PrivatePostgres:
    """A server in a new folder that only its own Unix socket leads to.

    Args:
        binaries: the folder with ``initdb`` and ``pg_ctl``.
    """

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Not pytest's tmp_path: the server may not run as root, and only root may enter that.
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._user = _unprivileged_user()
        self._numbers = count()
        if self._user is not None:
            shutil.chown(self._folder, self._user)

    def start(self) -> None:
        """Make the database files and start; returns when the server answers."""
        self._run("initdb", "--auth=trust", "--username=cascade", "--encoding=UTF8", "--no-sync")
        options = f"-k {self._folder} {_NO_TCP_NO_FSYNC}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={log}", f"--options={options}")

    def stop(self) -> None:
        """Stop and remove all files."""
        self._run("pg_ctl", "stop", "--mode=immediate", "--silent")
        shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"test_{next(self._numbers)}"
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://cascade@/{database}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        as_user: dict[str, Any] = {}
        if self._user is not None:
            as_user = {"user": self._user, "group": self._user, "extra_groups": []}
        subprocess.run(
            [self._binaries / program, f"--pgdata={self._folder / 'data'}", *arguments],
            check=True,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            **as_user,
        )


def find_binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs; None if there is none."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    newest = max(packaged, key=lambda path: int(path.parts[-3]), default=None)
    found = shutil.which("pg_ctl") if newest is None else str(newest)
    return None if found is None else Path(found).resolve().parent


def _unprivileged_user() -> str | None:
    """Return whom to run as; None to stay who we are. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"
