"""A process that runs jobs is killed, and another one ends its jobs, whichever held the lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest

from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.fork_server import FORKS
from tests.limits import HANG_S
from tests.serve.job_process import run_jobs

JobMaker = Callable[..., NewJob]


@dataclass(frozen=True)
class Executor:
    """A process that runs jobs, and what it says."""

    process: BaseProcess
    connection: Connection

    def wait_for(self, wanted: str) -> None:
        """Wait until it says a word."""
        while self.connection.recv() != wanted:
            pass


@contextmanager
def running(url: str, name: str, *, hangs: bool) -> Iterator[Executor]:
    dbos_url = url.replace("cascade", "dbos") if url.startswith("sqlite") else url
    here, there = FORKS.Pipe()
    process = FORKS.Process(target=run_jobs, args=(there, url, dbos_url, name, hangs))
    process.start()
    there.close()  # so that the end of the process is the end of what it says
    try:
        yield Executor(process, here)
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_jobs_of_a_killed_process_end_in_another(
    new_database_url: Callable[[str], str], make_job: JobMaker, kind: str
) -> None:
    # Both at once, as they wait until the killed process's heartbeat is old.
    cases = [(new_database_url(kind), make_job(), killed) for killed in ("jobs-0", "jobs-1")]
    with ThreadPoolExecutor(len(cases)) as threads:
        list(threads.map(check_takeover, *zip(*cases, strict=True)))


def check_takeover(url: str, job: NewJob, killed: str) -> None:
    """Kill one of two processes while it runs a job; the one that starts first holds the lease."""
    with (
        closing(Database(url)) as database,
        running(url, "jobs-0", hangs=killed == "jobs-0") as first,
    ):
        first.wait_for("ready")
        with running(url, "jobs-1", hangs=killed == "jobs-1") as second:
            second.wait_for("ready")
            victim = first if killed == "jobs-0" else second
            database.jobs.insert(job)
            victim.connection.send(job.id)
            victim.wait_for("running")
            victim.process.kill()
            limit_s = time.monotonic() + HANG_S
            while database.jobs.is_open(job.id) and time.monotonic() < limit_s:
                time.sleep(0.2)
        ended = database.jobs.get(job.id)
    assert ended is not None
    assert ended.state == "succeeded"
