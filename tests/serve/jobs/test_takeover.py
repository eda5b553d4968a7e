"""A process that runs jobs is killed, and another one ends its jobs, whichever held the lease."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.limits import HANG_S

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@contextmanager
def running(url: str, name: str, mode: str) -> Iterator[subprocess.Popen[str]]:
    dbos_url = url.replace("cascade", "dbos") if url.startswith("sqlite") else url
    with subprocess.Popen(
        [sys.executable, "-m", "tests.serve.job_process", url, dbos_url, name, mode],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    assert any(line.strip() == wanted for line in process.stdout), f"ended before {wanted!r}"


@pytest.mark.parametrize("killed", ["jobs-0", "jobs-1"])
def test_the_jobs_of_a_killed_process_end_in_another(
    database: Database, database_url: str, make_job: JobMaker, killed: str
) -> None:
    """The one that starts first holds the lease."""
    modes = {name: "hang" if name == killed else "finish" for name in ("jobs-0", "jobs-1")}
    with running(database_url, "jobs-0", modes["jobs-0"]) as first:
        wait_for(first, "ready")
        with running(database_url, "jobs-1", modes["jobs-1"]) as second:
            wait_for(second, "ready")
            victim = first if killed == "jobs-0" else second
            job = make_job()
            database.jobs.insert(job)
            assert victim.stdin is not None
            victim.stdin.write(f"{job.id}\n")
            victim.stdin.flush()
            wait_for(victim, "running")
            victim.kill()
            limit_s = time.monotonic() + HANG_S
            while database.jobs.is_open(job.id) and time.monotonic() < limit_s:
                time.sleep(0.2)
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert ended.state == "succeeded"
