"""The comparison of databases: what is counted under admission's lock, and the rate it allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.service import databases
from bench.service.databases import LOCK, _statements, _statements_under_lock, _table
from bench.stats import summary
from serve.storage.database import Database
from tests.private_postgres import PrivatePostgres


def test_statements_between_the_lock_and_the_commit_are_counted(postgres: PrivatePostgres) -> None:
    assert 0 < _statements_under_lock(postgres) < 20


def test_statements_of_all_engines_are_seen(postgres: PrivatePostgres) -> None:
    database = Database(postgres.new_database())
    with _statements() as made, database.reading() as connection:
        connection.exec_driver_sql(f"SELECT {LOCK}(1)")
    database.close()
    assert made[-1] == f"SELECT {LOCK}(1)"


async def test_counts_are_per_job_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, sent = 0, iter([1, 5, 3])

    async def create(_request: web.Request) -> web.Response:
        nonlocal jobs
        jobs += 1
        return web.json_response({"state": "succeeded"})

    async def send_some(
        send: Callable[[], Awaitable[object]], *_: float
    ) -> tuple[list[float], float]:
        samples = [1.0] * next(sent)
        for _sample in samples:
            await send()
        return samples, 1.0

    monkeypatch.setattr(databases, "ROUNDS", 3)
    monkeypatch.setattr("bench.baseline.load.closed_loop", send_some)
    app = web.Application()
    app.router.add_post("/v1/jobs", create)
    async with TestServer(app) as server:
        loaded = await databases._load(str(server.make_url("")), lambda: {"squares": jobs**2})
    first, last = jobs - 9, jobs
    assert loaded["counted"] == {"squares": (last**2 - first**2) / 9}


def test_the_rate_that_the_lock_allows_counts_round_trips_and_the_commit() -> None:
    counted = {"statements": 40.0, "commits": 12.0, "writing_transactions": 7.0, "locks": 1.0}
    load: dict[str, Any] = {
        "alone_s": summary([0.1]),
        "per_s": summary([20.0, 30.0]),
        "cpu_s": summary([0.05]),
        "counted": counted,
    }
    result = {"loads": {"SQLite": load, "PostgreSQL": load}, "statements_under_lock": 7}
    shown = _table(result)  # 7 of 0.5 ms and a commit of 1.5 ms
    assert "| jobs per second that this lock allows | 200 | >= 150 |" in shown
    assert "| SQLite | 100 ms | 25.0 (20.0-30.0) | 50 ms |" in shown
