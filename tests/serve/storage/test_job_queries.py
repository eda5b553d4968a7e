"""Questions about many jobs, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cascade_core.errors import Internal, NotReady, RecordNewer
from serve.storage.database import Database
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, NewJob, utc_now
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.recorded_jobs import add, add_newer

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


async def test_the_status_counts_open_jobs_and_how_others_ended(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    ids = [(await client.post("/v1/jobs", json={"prompt": "x"})).json()["id"] for _ in range(5)]
    await fake_jobs.run(ids[0])
    fake_jobs.finish(ids[1], "failed", Internal("x"))
    fake_jobs.finish(ids[2], "cancelled")
    await fake_jobs.make_image(ids[3])
    shown = (await client.get("/v1/status")).json()
    assert shown["replicas"] == {"StageC": 1, "Jobs": 1}
    assert (shown["queued"], shown["running"]) == (1, 1)
    assert shown["last_hour"] == {"succeeded": 1, "failed": 1, "cancelled": 1}
    assert shown["errors"] == {"internal": 1}
    fake_jobs.error = NotReady("away")
    assert (await client.get("/v1/status")).json()["replicas"] is None


def test_a_job_is_open_until_it_ends(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    assert database.jobs.is_open(job_id)
    database.jobs.finish(job_id, "cancelled")
    assert not database.jobs.is_open(job_id)
    assert not database.jobs.is_open("unknown")


def test_jobs_are_listed_newest_first_page_by_page(database: Database, make_job: JobMaker) -> None:
    ids = [add(database, make_job()) for _ in range(5)]
    first, cursor = database.jobs.page(limit=2)
    second, cursor = database.jobs.page(limit=2, cursor=cursor)
    third, end = database.jobs.page(limit=2, cursor=cursor)
    assert [job.id for job in first + second + third] == ids[::-1]
    assert end is None
    assert [job.position for job in first] == [4, 3]


def test_jobs_are_listed_by_state_and_user(database: Database, make_job: JobMaker) -> None:
    mine = add(database, make_job(user="ann"))
    add(database, make_job(user="bob"))
    done = add(database, make_job(user="ann"))
    database.jobs.finish(done, "succeeded")
    assert [job.id for job in database.jobs.page(user="ann")[0]] == [done, mine]
    assert [job.id for job in database.jobs.page("succeeded", "ann")[0]] == [done]
    assert database.jobs.page("failed") == ([], None)
    assert len(database.jobs.open_ids()) == 2


@pytest.mark.parametrize("change", [{"kind": "edit"}, {"image": "01UPLOAD"}, {"n": 5000}])
def test_a_job_that_only_a_later_release_can_read_is_left_out_of_lists(
    database: Database, make_job: JobMaker, change: dict[str, Any]
) -> None:
    first = add(database, make_job())
    newer = add_newer(database, make_job(), **change)
    last = add(database, make_job())
    found, end = database.jobs.page()
    assert ([job.id for job in found], end) == ([last, first], None)
    assert found[0].position == 2
    seen, cursor = database.jobs.page(limit=1)
    while cursor is not None:
        page, cursor = database.jobs.page(limit=1, cursor=cursor)
        seen += page
    assert [job.id for job in seen] == [last, first]
    for read in (database.jobs.get, database.jobs.open_job):
        with pytest.raises(RecordNewer):
            read(newer)


def test_a_job_that_a_later_release_accepted_is_shown_but_not_run(
    database: Database, make_job: JobMaker
) -> None:
    newer = add_newer(database, make_job(), added_later=[1])
    found = database.jobs.get(newer)
    assert found is not None
    assert found.state == "queued"
    with pytest.raises(RecordNewer):
        database.jobs.open_job(newer)


def test_jobs_that_have_not_ended_are_found_with_those_that_ended_since(
    database: Database, make_job: JobMaker
) -> None:
    ids = [add(database, make_job(user=user)) for user in ("ann", "bob", "ann", "ann")]
    database.jobs.finish(ids[0], "succeeded")
    database.waiting.begin(ids[2], timedelta(hours=1))
    of_all, of_ann = Viewpoint(None, None), Viewpoint(None, "ann")
    assert database.jobs.live_ids(of_all, None) == ids[1:]
    assert database.jobs.live_ids(of_ann, None) == ids[2:]
    assert database.jobs.live_ids(Viewpoint("key", None), None) == []
    minute = timedelta(minutes=1)
    assert database.jobs.live_ids(of_ann, utc_now() - minute) == [ids[0], *ids[2:]]
    assert database.jobs.live_ids(of_ann, utc_now() + minute) == ids[2:]


def test_open_jobs_and_young_ones_are_found_with_their_owners(
    database: Database, make_job: JobMaker
) -> None:
    old, ended, young = (add(database, make_job(user=user)) for user in ("ann", "bob", "cal"))
    for job_id in (ended, young):
        database.jobs.finish(job_id, "succeeded")
    found = database.jobs.owners_of_begun([None], young)
    assert found == {old: JobOwner(None, "ann"), young: JobOwner(None, "cal")}
    assert database.jobs.owners_of_begun(["key"], "") == {}


def test_jobs_are_read_with_their_last_events(database: Database, make_job: JobMaker) -> None:
    queued, ended = add(database, make_job()), add(database, make_job())
    database.jobs.finish(ended, "failed")
    newer = add_newer(database, make_job(), kind="edit")
    found = database.jobs.with_last_event_ids([ended, queued, newer, "unknown"])
    assert [(job.id, job.state) for job, _ in found] == [(queued, "queued"), (ended, "failed")]
    for job, last_id in found:
        assert last_id == database.events.of_job(job.id)[-1].id
