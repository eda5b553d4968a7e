"""A process whose database or store starts later than it waits, and says for what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import QueuePool

from cascade_core.errors import NotReady
from serve.settings import Settings
from serve.storage import open_stores as module
from serve.storage.open_stores import open_stores, until_available
from tests.limits import HANG_S
from tests.ray.client import free_port
from tests.serve.storage.test_connections import Proxy


async def test_a_process_waits_for_a_database_that_starts_later(
    new_database_url: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    records: list[dict[str, str]],
) -> None:
    url = urlsplit(new_database_url("postgresql"))
    (folder,) = parse_qs(url.query)["host"]
    port, waits, is_there = free_port(), Event(), Event()
    settings = Settings(
        data_dir=tmp_path, database_url=f"postgresql://cascade@127.0.0.1:{port}{url.path}"
    )

    def pause(_seconds: float) -> None:
        waits.set()
        is_there.wait(HANG_S)

    monkeypatch.setattr(module, "until_available", lambda do: until_available(do, pause=pause))
    starts = asyncio.create_task(asyncio.to_thread(open_stores, settings))
    await asyncio.to_thread(waits.wait)
    assert "refused" in records[0]["message"]
    Proxy(Path(folder) / ".s.PGSQL.5432", port)
    is_there.set()
    database, blobs = await starts
    await database.run(database.probe)
    await blobs.probe()
    database.close()


def test_a_process_waits_for_a_folder_that_is_there_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mount").touch()
    settings = Settings(data_dir=tmp_path / "mount")

    def mount(_seconds: float) -> None:
        (tmp_path / "mount").unlink(missing_ok=True)

    monkeypatch.setattr(module, "until_available", lambda do: until_available(do, pause=mount))
    database, _ = open_stores(settings)
    database.probe()
    database.close()
    assert settings.data_dir.is_dir()


def test_a_process_opens_as_many_connections_as_the_setting_says(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_connections=5)
    database, _ = open_stores(settings, reserved=2)
    pool = database._engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow) == (5, 0)
    assert database._threads._max_workers == 3
    database.close()


def test_a_store_that_never_comes_ends_the_start_with_what_it_said() -> None:
    def fail() -> None:
        raise NotReady("the database does not answer", reason="connection refused")

    with pytest.raises(NotReady, match="connection refused"):
        until_available(fail, limit_s=0.0)
