"""DBOS on each Python and SQLite: a file that one has made is used by the others."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import dbos._sys_db
import dbos._sys_db_sqlite
import pytest
from dbos import DBOSConfig
from sqlalchemy import make_url

from cascade_core.errors import DatabaseOlder
from serve.jobs import dbos_runtime
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.limits import HANG_S
from tests.serve.null_stages import Stage, launched, run_to_end

JobMaker = Callable[..., NewJob]
OF_311, OF_312 = "(strftime('%s','now') * 1000)", "(unixepoch('subsec') * 1000)"


@pytest.fixture
def database_url(empty_database_url: Callable[[str], str]) -> str:
    """Without the workflow engine's tables."""
    return empty_database_url("sqlite")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.create_tables()
    yield database
    database.close()


@pytest.fixture
def run_as(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[tuple[int, int]], str]:
    """Runs a job of two images as a version of Python would; returns how the job ended."""
    made = dbos._sys_db_sqlite.sqlite_migrations

    async def run() -> str:
        stages = {name: Stage(name) for name in "cba"}
        async with launched(database, database_url, blobs, stages) as workflow:
            return (await run_to_end(workflow, database, make_job(n=2))).state

    def run_as(version: tuple[int, int]) -> str:
        sys_of = SimpleNamespace(version_info=version)
        default = OF_312 if version >= (3, 12) else OF_311
        migrations = [sql.replace(OF_311, default).replace(OF_312, default) for sql in made]
        monkeypatch.setattr(dbos._sys_db, "sys", sys_of)
        monkeypatch.setattr(dbos._sys_db_sqlite, "sqlite_migrations", migrations)
        return asyncio.run(asyncio.wait_for(run(), HANG_S))

    return run_as


@pytest.mark.parametrize("first", [(3, 11), (3, 13)])
@pytest.mark.parametrize("second", [(3, 11), (3, 13)])
def test_jobs_run_on_each_python_and_on_files_that_another_has_made(
    run_as: Callable[[tuple[int, int]], str],
    database_url: str,
    first: tuple[int, int],
    second: tuple[int, int],
) -> None:
    assert [run_as(first), run_as(second)] == ["succeeded", "succeeded"]
    path = Path(database_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT sql FROM sqlite_master WHERE name = 'workflow_input'"
        made_with = connection.execute(query).fetchone()[0]
    assert (OF_312 in made_with) == (first >= (3, 12))


def test_the_engine_opens_five_connections_of_its_pool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its listener those are the six that docs/operations.md counts."""
    configs: list[DBOSConfig] = []

    class Engine:
        def __init__(self, config: DBOSConfig) -> None:
            configs.append(config)

        @staticmethod
        def launch() -> None:
            pass

    monkeypatch.setattr(dbos_runtime, "DBOS", Engine)
    dbos_runtime.launch_dbos(f"sqlite:///{tmp_path / 'dbos.db'}", "jobs-0")
    assert [config["sys_db_pool_size"] for config in configs] == [5]


async def test_workflows_from_before_the_first_release_are_refused(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stages = {name: Stage(name) for name in "cba"}
    dbos_runtime.migrate_dbos(database_url)
    monkeypatch.setattr(dbos_runtime, "APPLICATION_VERSION", "1")
    async with launched(database, database_url, blobs, stages) as workflow:
        await run_to_end(workflow, database, make_job())
    with pytest.raises(DatabaseOlder, match=r"cascade export.*cascade import"):
        dbos_runtime.migrate_dbos(database_url)


def test_every_connection_of_the_engine_to_postgresql_has_a_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls: list[str] = []

    class Engine:
        def __init__(self, config: DBOSConfig) -> None:
            urls.append(str(config["system_database_url"]))

        @staticmethod
        def launch() -> None:
            pass

        @staticmethod
        def migrate(url: str) -> None:
            urls.append(url)

    class Client:
        def __init__(self, *, system_database_url: str, retry_connection_errors: bool) -> None:
            urls.append(system_database_url)

        def list_workflows(self, **_query: object) -> list[object]:
            return []

        def destroy(self) -> None:
            pass

    monkeypatch.setattr(dbos_runtime, "DBOS", Engine)
    monkeypatch.setattr(dbos_runtime, "DBOSClient", Client)
    dbos_runtime.migrate_dbos("postgresql://cascade:p%40ss@db/cascade_dbos")
    dbos_runtime.launch_dbos("postgresql://cascade:p%40ss@db/cascade_dbos?connect_timeout=2", "0")
    found = [make_url(url) for url in urls]
    assert [url.query["connect_timeout"] for url in found] == ["5", "5", "2"]
    assert {url.password for url in found} == {"p@ss"}
