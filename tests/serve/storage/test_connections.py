"""Databases that do not answer: what waits for them, for how long, and what goes on beside it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import make_url, text, update

from cascade_core.errors import NotReady
from serve.storage import connections
from serve.storage.database import Database
from serve.storage.job_store import update_open
from serve.storage.postgresql import BoundedConnection
from serve.storage.records import NewJob
from serve.storage.schema import upgrade as schema
from serve.storage.schema.tables import jobs
from tests.serve.recorded_jobs import start

JobMaker = Callable[..., NewJob]


@pytest.fixture
def postgres_url(new_database_url: Callable[[str], str]) -> str:
    return new_database_url("postgresql")


@pytest.fixture(params=["sqlite", "postgresql"])
def either_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@contextmanager
def opened(url: str, count: int = 4) -> Iterator[Database]:
    database = Database(url, count)
    yield database
    database.close()


class Proxy:
    """Passes TCP connections on to a Unix socket until it is silenced."""

    def __init__(self, path: Path, port: int = 0) -> None:
        self._path = path
        self._passes = threading.Event()
        self._passes.set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Keep connections open and pass nothing on."""
        self._passes.clear()

    def speak(self) -> None:
        """Pass on again, also what came in between."""
        self._passes.set()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._path))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                self._passes.wait()
                sink.sendall(data)


@pytest.fixture
def proxy(postgres_url: str) -> Proxy:
    (folder,) = parse_qs(urlsplit(postgres_url).query)["host"]
    return Proxy(Path(folder) / ".s.PGSQL.5432")


async def test_a_database_that_is_silent_from_the_start_holds_up_nothing_else() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        opened(f"postgresql://u:p@127.0.0.1:{listener.getsockname()[1]}/x") as database,
    ):
        probes = [asyncio.create_task(database.run(database.probe)) for _ in range(40)]
        await asyncio.sleep(0)  # they have taken what threads they get
        assert await asyncio.to_thread(lambda: "free") == "free"
        assert not any(probe.done() for probe in probes)
        with pytest.raises(NotReady) as caught:
            await probes[0]
        assert "timeout" in caught.value.reason
        for probe in probes:
            probe.cancel()


async def test_a_database_that_falls_silent_is_given_up_and_taken_up_again(
    postgres_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its proxy keeps the connection open: neither TCP nor the server ends it."""
    monkeypatch.setattr(BoundedConnection, "answer_s", 1.0)
    name = urlsplit(postgres_url).path
    with opened(f"postgresql://cascade@127.0.0.1:{proxy.port}{name}?connect_timeout=2") as database:
        await database.run(database.probe)
        proxy.silence()
        with pytest.raises(NotReady):
            await database.run(database.probe)
        proxy.speak()
        await database.run(database.probe)


def test_a_lock_that_another_holds_is_waited_for_so_long_only(
    postgres_url: str, make_job: JobMaker
) -> None:
    with opened(postgres_url) as holder:
        job = make_job()
        holder.jobs.insert(job)
        with (
            opened(postgres_url + "&options=-c%20lock_timeout=100ms") as database,
            holder.writing() as connection,
        ):
            assert update_open(connection, job.id, {})
            with pytest.raises(NotReady) as caught:
                database.jobs.finish(job.id, "cancelled")
            assert "lock timeout" in caught.value.reason
            assert "lock" not in str(caught.value)


def test_time_outs_hold_for_every_session(postgres_url: str) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    with opened(postgres_url) as database, database.reading() as connection:
        shown = [connection.execute(text(f"SHOW {name}")).scalar() for name in names]
    assert shown == ["30s", "10s", "1min"]


def test_a_migration_may_take_longer_than_a_statement(
    empty_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_database_url("postgresql") + "&options=-c%20statement_timeout=1s"
    monkeypatch.setattr(BoundedConnection, "answer_s", 1.0)
    upgrade = schema._upgrade

    def slowly(connection: schema.Connection) -> schema.Migrated:
        connection.execute(text("SELECT pg_sleep(1.5)"))
        return upgrade(connection)

    monkeypatch.setattr(schema, "_upgrade", slowly)
    with opened(url) as database:
        assert database.create_tables().before is None
        with pytest.raises(NotReady), database.reading() as connection:
            connection.execute(text("SELECT pg_sleep(1.5)"))


def test_a_database_whose_connections_are_all_in_use_is_not_ready(
    either_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_CONNECTION_WAIT_S", 0.05)
    with opened(either_url, 1) as database:
        with database.reading(), pytest.raises(NotReady):
            database.jobs.is_open("x")
        assert not database.jobs.is_open("x")


async def test_a_call_that_waits_too_long_for_a_connection_fails_and_does_nothing_later(
    either_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_THREAD_WAIT_S", 0.05)
    may_end, done = threading.Event(), []
    with opened(either_url, 2) as database:
        busy = [asyncio.create_task(database.run(may_end.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await database.run(done.append, "late")
        may_end.set()
        await asyncio.gather(*busy)
        await database.run(done.append, "in time")
    assert done == ["in time"]


@pytest.mark.parametrize("method", ["create_tables", "probe_writing"])
def test_a_file_that_is_no_database_is_named_to_the_operator(tmp_path: Path, method: str) -> None:
    file = tmp_path / "cascade.db"
    file.write_bytes(bytes(range(256)) * 40)
    with opened(f"sqlite:///{file}") as database, pytest.raises(NotReady) as caught:
        getattr(database, method)()
    assert caught.value.for_operator == (
        f"the database does not answer: {file}: file is not a database"
    )
    assert str(caught.value) == "the database does not answer"


def test_a_file_that_cannot_be_written_fails_the_probe_that_writes(tmp_path: Path) -> None:
    file = tmp_path / "cascade.db"
    with opened(f"sqlite:///{file}") as database:
        database.create_tables()
        database.probe_writing()
    with opened(f"sqlite:///file:{file}?mode=ro&uri=true") as database:
        database.probe()
        with pytest.raises(NotReady) as caught:
            database.probe_writing()
    assert "readonly database" in caught.value.reason


async def test_no_more_connections_are_opened_than_were_asked_for(postgres_url: str) -> None:
    with opened(postgres_url, 3) as database, opened(postgres_url) as observer:
        await asyncio.gather(*(database.run(_sleep, database) for _ in range(12)))
        with observer.reading() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            assert connection.execute(text(query)).scalar() == 3 + 1


def _sleep(database: Database) -> None:
    with database.reading() as connection:
        connection.execute(text("SELECT pg_sleep(0.05)"))


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////srv/a b/cascade.db", "/srv/a b/cascade.db"),
        ("sqlite:///data/cascade.db", "data/cascade.db"),
        ("sqlite:///file:/srv/cascade.db?mode=ro&uri=true", "/srv/cascade.db"),
        ("sqlite:///file:/srv/cascade.db?mode=ro", "file:/srv/cascade.db"),
        ("sqlite:///file::memory:?uri=true", None),
        ("sqlite://", None),
    ],
)
def test_the_file_of_a_sqlite_url_is_known_in_both_of_its_forms(url: str, file: str | None) -> None:
    assert connections.sqlite_file(make_url(url)) == (Path(file) if file else None)


def test_a_uri_of_sqlite_makes_no_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(f"sqlite:///file:{tmp_path}/data/cascade.db?uri=true")
    database.create_tables()
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_path_that_looks_like_a_uri_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///file:data/cascade.db")
    database.create_tables()
    database.close()
    assert (tmp_path / "file:data" / "cascade.db").exists()


def test_writers_of_one_process_wait_in_line_however_long_it_takes(
    new_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SQLITE_BUSY_TIMEOUT_MS", 0)
    database = Database(new_database_url("sqlite"))
    with ThreadPoolExecutor(1) as thread:
        with database.writing() as connection:
            connection.execute(update(jobs).values(stage="c"))
            waiting = thread.submit(start, database, "nothing")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        waiting.result()  # when the other one is done
    database.close()
