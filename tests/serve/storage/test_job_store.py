"""Jobs as rows: recorded once, changed in order, ended once; on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cascade_core.errors import Conflict, IdempotencyMismatch, NotReady, RateLimited
from cascade_core.request import GenerationRequest
from serve.storage.database import Database
from serve.storage.job_store import update_open
from serve.storage.records import NewJob, OpenLimits, ProgressStep
from tests.serve.recorded_jobs import add, body, finished_after, record_step, start

JobMaker = Callable[..., NewJob]
JOB_KEYS = {
    "id",
    "kind",
    "key_id",
    "state",
    "stage",
    "progress",
    "position",
    "eta_s",
    "created_at",
    "started_at",
    "finished_at",
    "deadline_at",
    "request",
    "images",
    "warnings",
    "error",
    "cost",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def types(database: Database, job_id: str) -> list[str]:
    return [event.type for event in database.events.of_job(job_id)]


def test_a_new_job_is_queued_with_exactly_the_documented_fields(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.jobs.insert(job)
    shown = body(database, job.id)
    assert shown.keys() == JOB_KEYS
    assert shown["state"] == "queued"
    assert shown["position"] == 0
    assert shown["request"] == job.request.to_dict()
    assert shown["images"] == []
    assert shown["cost"] == {"c_s": 0, "b_s": 0, "a_s": 0}
    assert shown["created_at"].endswith("Z")
    unset = ("stage", "progress", "eta_s", "started_at", "finished_at", "error")
    assert [shown[name] for name in unset] == [None] * 6


def test_client_state_comes_back_with_the_job(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job(client_state={"channel": "1", "nested": [1, None]}))
    assert body(database, job_id)["client_state"] == {"channel": "1", "nested": [1, None]}


def test_the_same_job_inserted_twice_is_one_job(database: Database, make_job: JobMaker) -> None:
    job = make_job()
    assert database.jobs.insert(job) is None
    assert database.jobs.insert(job) == job.id
    assert types(database, job.id) == ["queued"]


def test_a_request_whose_twin_is_given_up_in_the_same_moment_is_recorded(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin's row was there when this one was inserted, and its key is free right after."""
    twin, job = (
        replace(job, identity=replace(job.identity, key="same")) for job in (make_job(), make_job())
    )
    insert = database.jobs._insert

    def insert_behind_the_twin(job: NewJob, limits: OpenLimits | None) -> None:
        monkeypatch.setattr(database.jobs, "_insert", insert)
        insert(twin, None)
        try:
            insert(job, limits)
        finally:
            database.jobs.release_idempotency_key(twin.id)
            database.jobs.finish(twin.id, "cancelled")

    monkeypatch.setattr(database.jobs, "_insert", insert_behind_the_twin)
    assert database.jobs.insert(job) is None
    assert types(database, job.id) == ["queued"]


def test_a_request_that_cannot_be_recorded_is_never_called_accepted(
    database: Database, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(job: NewJob, limits: OpenLimits | None) -> None:
        raise Conflict("this id is taken already")

    monkeypatch.setattr(database.jobs, "_insert", taken)
    with pytest.raises(NotReady):
        database.jobs.insert(make_job())


def test_the_last_event_leaves_out_what_the_client_keeps_with_the_job(
    database: Database, make_job: JobMaker
) -> None:
    """It stays in the table for good, and a chat's token is in there."""
    job_id = add(database, make_job(client_state={"address": {"token": "secret"}}))
    database.jobs.finish(job_id, "succeeded")
    last = database.events.of_job(job_id)[-1]
    shown = body(database, job_id)
    assert shown.pop("client_state") == {"address": {"token": "secret"}}
    assert last.data == {"job": shown}


def test_the_id_of_another_request_is_refused(database: Database, make_job: JobMaker) -> None:
    job = make_job()
    database.jobs.insert(job)
    with pytest.raises(IdempotencyMismatch):
        database.jobs.insert(replace(job, identity=replace(job.identity, body="another")))
    assert types(database, job.id) == ["queued"]


def test_an_unknown_job_is_none(database: Database) -> None:
    assert database.jobs.get("nope") is None


def test_times_come_back_aware_and_in_utc(database: Database, make_job: JobMaker) -> None:
    before = datetime.now(UTC)
    job = database.jobs.get(add(database, make_job()))
    assert job is not None
    assert job.created_at.utcoffset() == timedelta(0)
    assert before <= job.created_at <= datetime.now(UTC)


def test_only_a_queued_job_starts(database: Database, make_job: JobMaker) -> None:
    job_id, cancelled_id = add(database, make_job()), add(database, make_job())
    database.jobs.finish(cancelled_id, "cancelled")
    starts = dict.fromkeys((job_id, cancelled_id, "nope"), 0.0)
    assert database.jobs.record_progress([], starts, {}) == set()
    shown = body(database, job_id)
    assert (shown["state"], shown["position"]) == ("running", None)
    assert shown["started_at"] >= shown["created_at"]
    start(database, job_id)
    assert body(database, job_id)["started_at"] == shown["started_at"]
    assert body(database, cancelled_id)["state"] == "cancelled"
    assert body(database, cancelled_id)["started_at"] is None


def test_a_job_has_run_since_its_stage_began_and_not_since_that_was_recorded(
    database: Database, make_job: JobMaker
) -> None:
    job_id = add(database, make_job())
    before = datetime.now(UTC)
    database.jobs.record_progress([], {job_id: 3600.0}, {})
    job = database.jobs.get(job_id)
    assert job is not None
    assert job.started_at is not None
    assert before <= job.started_at + timedelta(hours=1) <= datetime.now(UTC)


def test_the_steps_of_many_jobs_are_recorded_together_and_each_in_its_order(
    database: Database, make_job: JobMaker
) -> None:
    ids = [add(database, make_job()) for _ in range(3)]
    database.jobs.finish(ids[1], "cancelled")
    steps = [ProgressStep(job_id, 0, "c", step, 20) for step in (1, 2) for job_id in ids]
    assert database.jobs.record_progress(steps, {}, {}) == set()
    for job_id in (ids[0], ids[2]):
        told = [event.data for event in database.events.of_job(job_id) if event.type == "progress"]
        assert [data["step"] for data in told] == [1, 2]
    assert types(database, ids[1]) == ["queued", "cancelled"]


def test_progress_shows_in_the_job_and_as_an_event(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    start(database, job_id)
    record_step(database, job_id, "c", 3, 20, preview_key=f"previews/{job_id}-0-c-3.webp")
    shown = body(database, job_id)
    assert shown["stage"] == "c"
    assert shown["progress"] == {"step": 3, "steps": 20, "index": 0}
    event = database.events.of_job(job_id)[-1]
    assert event.type == "progress"
    assert event.data == {
        "stage": "c",
        "step": 3,
        "steps": 20,
        "index": 0,
        "preview": "0-c-3.webp",
    }


def test_of_a_job_that_others_have_locked_nothing_is_recorded_and_of_all_others_everything(
    new_database_url: Callable[[str], str], make_job: JobMaker
) -> None:
    database = Database(new_database_url("postgresql"))  # SQLite has one writer at a time
    locked_id, free_id, ended_id = (add(database, make_job()) for _ in range(3))
    database.jobs.finish(ended_id, "cancelled")
    ids = (locked_id, free_id, ended_id, "deleted")
    steps = [ProgressStep(job_id, 0, "c", 1, 20) for job_id in ids]
    told = steps, dict.fromkeys(ids, 0.0), {job_id: ["too long"] for job_id in ids}
    with database.writing() as connection:
        assert update_open(connection, locked_id, {})
        assert database.jobs.record_progress(*told) == {locked_id}
        shown = [body(database, job_id) for job_id in ids[:3]]
        assert [job["state"] for job in shown] == ["queued", "running", "cancelled"]
        assert [job["warnings"] for job in shown] == [[], ["too long"], []]
        assert types(database, locked_id) == ["queued"]
        assert types(database, free_id) == ["queued", "progress"]
    assert database.jobs.record_progress(*told) == set()
    assert types(database, locked_id) == ["queued", "progress"]
    database.close()


def test_a_warning_for_a_job_that_is_deleted_meanwhile_is_left_out(database: Database) -> None:
    database.jobs.add_warnings("deleted", ["too long"])
    assert database.jobs.get("deleted") is None


def test_progress_after_the_end_is_ignored(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    database.jobs.finish(job_id, "cancelled")
    record_step(database, job_id, "c", 1, 20, 0)
    assert types(database, job_id) == ["queued", "cancelled"]
    assert body(database, job_id)["stage"] is None


def test_the_last_event_carries_the_whole_job(database: Database, make_job: JobMaker) -> None:
    job = make_job()
    database.jobs.insert(job)
    start(database, job.id)
    record_step(database, job.id, "a", 1, 1, 0)
    database.images.save(job.images[0].id, 10, "a")
    database.jobs.add_costs(job.id, {"c": 1.0})
    database.jobs.add_costs(job.id, {"c": 0.5, "b": 0.25})
    assert database.jobs.finish(job.id, "succeeded")
    shown = body(database, job.id)
    assert database.events.of_job(job.id)[-1].data == {"job": shown}
    assert shown["cost"] == {"c_s": 1.5, "b_s": 0.25, "a_s": 0}
    assert (shown["stage"], shown["progress"], shown["eta_s"]) == (None, None, None)
    assert len(shown["images"]) == 1
    loaded = database.jobs.get(job.id)
    assert loaded is not None
    assert loaded.latency_s is not None
    assert loaded.latency_s >= 0


def test_a_failed_job_keeps_its_error(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    error = {"code": "out_of_memory", "message": "the device ran out of memory"}
    assert database.jobs.finish(job_id, "failed", error)
    assert body(database, job_id)["error"] == error
    assert not database.jobs.finish(job_id, "succeeded")
    assert body(database, job_id)["state"] == "failed"


def test_exactly_one_of_many_racing_callers_ends_a_job(
    database: Database, database_url: str, make_job: JobMaker
) -> None:
    job_id = add(database, make_job())
    databases = [Database(database_url) for _ in range(8)]
    barrier = threading.Barrier(8)

    def finish(other: Database) -> bool:
        barrier.wait()
        return other.jobs.finish(job_id, "succeeded")

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(finish, databases)) == [False] * 7 + [True]
    for other in databases:
        other.close()
    assert types(database, job_id) == ["queued", "succeeded"]


def test_a_job_over_a_users_limit_is_refused_until_one_ends(
    database: Database, make_job: JobMaker
) -> None:
    limits = OpenLimits(total=5, per_user=2)
    for seconds in (2.0, 4.0):
        finished_after(database, add(database, make_job()), seconds)
    first = make_job(user="ann")
    for job in (first, make_job(user="ann")):
        database.jobs.insert(job, limits)
    with pytest.raises(RateLimited) as refused:
        database.jobs.insert(make_job(user="ann"), limits)
    assert refused.value.retry_after_s == 3.0
    assert database.jobs.insert(first, limits) == first.id
    assert database.jobs.insert(make_job(user="bob"), limits) is None
    database.jobs.finish(first.id, "succeeded")
    assert database.jobs.insert(make_job(user="ann"), limits) is None


def test_a_series_counts_once_for_every_eight_of_its_pictures(
    database: Database, make_job: JobMaker
) -> None:
    def series(pictures: int) -> NewJob:
        variants = [{"colour": f"tint {number}"} for number in range(pictures)]
        values = {"prompt": "{colour}", "variants": variants, "n": pictures, "strength": 0.7}
        return make_job(user="ann", kind="series", hero_id="01HERO", **values)

    limits = OpenLimits(total=50, per_user=15)
    for pictures in (8, 100):
        assert database.jobs.insert(series(pictures), limits) is None
    assert database.jobs.insert(series(100), limits) is None  # there were 14
    with pytest.raises(RateLimited, match="you have 27 jobs open"):
        database.jobs.insert(make_job(user="ann"), limits)
    assert database.jobs.insert(make_job(user="bob"), limits) is None


def test_a_job_over_the_common_limit_is_refused_for_every_user(
    database: Database, make_job: JobMaker
) -> None:
    limits = OpenLimits(total=3, per_user=2)
    for user in ("ann", "bob", "cid"):
        database.jobs.insert(make_job(user=user), limits)
    with pytest.raises(RateLimited, match="3 jobs open"):
        database.jobs.insert(make_job(user="dan"), limits)


def test_requests_at_the_same_time_do_not_pass_a_limit_together(
    database: Database, make_job: JobMaker
) -> None:
    limits = OpenLimits(total=50, per_user=3)
    made = [make_job(user="ann") for _ in range(10)]

    def accepted(job: NewJob) -> bool:
        try:
            database.jobs.insert(job, limits)
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(5) as threads:
        assert sum(threads.map(accepted, made)) == 3


def test_request_survives_the_round_trip(
    database: Database, make_job: JobMaker, make_request: Callable[..., GenerationRequest]
) -> None:
    changes = {"prompt": "naïve \U0001f3a8 'quoted'", "seed": 2**32 - 1, "guidance_scale": 2.5}
    job = database.jobs.get(add(database, make_job(**changes)))
    assert job is not None
    assert job.request == make_request(**changes)
