"""Tables, and many threads and processes at one database, on both kinds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascade_core.errors import NotReady
from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.fork_server import FORKS
from tests.limits import HANG_S
from tests.serve.recorded_jobs import add, record_step

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, empty_database_url: Callable[[str], str]) -> str:
    return empty_database_url(request.param)


def test_writers_in_many_threads_do_not_lock_each_other_out(
    database_url: str, database: Database, make_job: JobMaker
) -> None:
    ids = [add(database, make_job()) for _ in range(4)]

    def work(job_id: str) -> None:
        other = Database(database_url)
        for step in range(1, 26):
            record_step(other, job_id, "c", step, 25, 0)
        other.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ids))
    for job_id in ids:
        steps = [event.data["step"] for event in database.events.of_job(job_id, limit=50)[1:]]
        assert steps == list(range(1, 26))
    everything = database.events.of_jobs(dict.fromkeys(ids, 0), 1000)
    ordered = [event.id for event in everything]
    assert len(ordered) == 4 * 26
    assert ordered == sorted(set(ordered))


def _create_and_insert(url: str, job: NewJob) -> None:
    database = Database(url)
    database.create_tables()
    database.jobs.insert(job)


def test_processes_that_start_together_can_all_create_the_tables(
    empty_url: str, make_job: JobMaker
) -> None:
    jobs = [make_job() for _ in range(3)]
    starters = [FORKS.Process(target=_create_and_insert, args=(empty_url, job)) for job in jobs]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(HANG_S)
    assert [starter.exitcode for starter in starters] == [0, 0, 0]
    assert Database(empty_url).jobs.open_ids() == [job.id for job in jobs]


def test_creating_tables_again_keeps_what_is_there(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    database.create_tables()
    assert database.jobs.open_ids() == [job_id]


def test_a_database_without_tables_is_not_ready(empty_url: str) -> None:
    with pytest.raises(NotReady, match="database does not answer"):
        Database(empty_url).probe()
