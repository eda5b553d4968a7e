from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from cascade_core.errors import Conflict, NotReady
from cascade_core.handoff import ModelRef
from cascade_core.request import GenerationRequest
from serve import tables
from serve.db import Database
from serve.records import LatentRow, NewJob

JobMaker = Callable[..., NewJob]
MODEL = ModelRef("demo", "1", "abc")
JOB_KEYS = {
    "id",
    "kind",
    "state",
    "stage",
    "progress",
    "position",
    "eta_s",
    "created_at",
    "started_at",
    "finished_at",
    "request",
    "images",
    "warnings",
    "error",
    "cost",
}


def add(database: Database, job: NewJob) -> str:
    database.insert_job(job)
    return job.id


def body(database: Database, job_id: str) -> dict[str, Any]:
    job = database.job(job_id)
    assert job is not None
    return job.to_json()


def types(database: Database, job_id: str) -> list[str]:
    return [event.type for event in database.events(job_id)]


def latent_row(job: NewJob, index: int = 0) -> LatentRow:
    request = job.request.for_image(index)
    return LatentRow(job.images[index].latent_id, job.id, index, MODEL, request)


def finished_after(database: Database, job_id: str, seconds: float) -> None:
    """Let a job have run this long, as if the clock had moved."""
    database.start_job(job_id)
    database.finish_job(job_id, "succeeded")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = {"started_at": start, "finished_at": start + timedelta(seconds=seconds)}
    with database._engine.begin() as connection:
        change = update(tables.jobs).where(tables.jobs.c.id == job_id)
        connection.execute(change.values(**times))


def test_a_new_job_is_queued_with_exactly_the_documented_fields(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.insert_job(job)
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


def test_the_same_id_cannot_be_inserted_twice(database: Database, make_job: JobMaker) -> None:
    job = make_job()
    database.insert_job(job)
    with pytest.raises(Conflict):
        database.insert_job(job)
    assert types(database, job.id) == ["queued"]


def test_an_unknown_job_is_none(database: Database) -> None:
    assert database.job("nope") is None


def test_times_come_back_aware_and_in_utc(database: Database, make_job: JobMaker) -> None:
    before = datetime.now(UTC)
    job = database.job(add(database, make_job()))
    assert job is not None
    assert job.created_at.utcoffset() == timedelta(0)
    assert before <= job.created_at <= datetime.now(UTC)


def test_only_a_queued_job_starts(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    assert database.start_job(job_id)
    assert not database.start_job(job_id)
    assert not database.start_job("nope")
    shown = body(database, job_id)
    assert (shown["state"], shown["position"]) == ("running", None)
    assert shown["started_at"] >= shown["created_at"]


def test_progress_shows_in_the_job_and_as_an_event(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    database.start_job(job_id)
    database.progress(job_id, "c", 3, 20, 0, preview_key=f"previews/{job_id}-0-c-3.webp")
    shown = body(database, job_id)
    assert shown["stage"] == "c"
    assert shown["progress"] == {"step": 3, "steps": 20, "index": 0}
    event = database.events(job_id)[-1]
    assert event.type == "progress"
    assert event.data == {
        "stage": "c",
        "step": 3,
        "steps": 20,
        "index": 0,
        "preview_url": f"/v1/jobs/{job_id}/previews/0-c-3.webp",
    }


def test_progress_after_the_end_is_ignored(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    database.finish_job(job_id, "cancelled")
    database.progress(job_id, "c", 1, 20, 0)
    assert types(database, job_id) == ["queued", "cancelled"]
    assert body(database, job_id)["stage"] is None


def test_a_saved_image_appears_once(database: Database, make_job: JobMaker) -> None:
    job = make_job(n=2)
    database.insert_job(job)
    assert database.image(job.images[1].id) is None
    assert database.save_image(job.images[1].id, 1234, 0.5)
    assert not database.save_image(job.images[1].id, 1234, 0.5)
    assert not database.save_image("nope", 1, 0.5)
    assert types(database, job.id) == ["queued", "image"]
    assert database.events(job.id)[-1].data == {
        "index": 1,
        "id": job.images[1].id,
        "latent_id": job.images[1].latent_id,
        "seed": 8,
        "decoder_seed": 8,
        "url": f"/v1/images/{job.images[1].id}",
    }
    assert body(database, job.id)["images"] == [
        {
            "id": job.images[1].id,
            "index": 1,
            "latent_id": job.images[1].latent_id,
            "seed": 8,
            "decoder_seed": 8,
            "width": 256,
            "height": 256,
        }
    ]


def test_an_image_saved_by_racing_callers_is_told_once(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.insert_job(job)
    barrier = threading.Barrier(4)

    def save(_number: int) -> bool:
        barrier.wait()
        database.save_latent(latent_row(job))
        return database.save_image(job.images[0].id, 10)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(save, range(4))) == [False] * 3 + [True]
    assert types(database, job.id) == ["queued", "image"]


def test_planned_images_are_known_before_they_are_ready(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=3)
    database.insert_job(job)
    database.save_image(job.images[2].id, 10)
    loaded = database.job(job.id)
    assert loaded is not None
    assert [image.id for image in loaded.images] == [image.id for image in job.images]
    assert [image.ready for image in loaded.images] == [False, False, True]


def test_an_image_that_comes_after_the_end_is_not_shown(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.insert_job(job)
    database.finish_job(job.id, "cancelled")
    assert not database.save_image(job.images[0].id, 10)
    assert database.image(job.images[0].id) is None
    assert types(database, job.id) == ["queued", "cancelled"]


def test_the_last_event_carries_the_whole_job(database: Database, make_job: JobMaker) -> None:
    job = make_job()
    database.insert_job(job)
    database.start_job(job.id)
    database.progress(job.id, "a", 1, 1, 0)
    database.save_image(job.images[0].id, 10)
    database.add_cost(job.id, "c", 1.0)
    database.add_cost(job.id, "c", 0.5)
    database.add_cost(job.id, "b", 0.25)
    assert database.finish_job(job.id, "succeeded")
    shown = body(database, job.id)
    assert database.events(job.id)[-1].data == {"job": shown}
    assert shown["cost"] == {"c_s": 1.5, "b_s": 0.25, "a_s": 0}
    assert (shown["stage"], shown["progress"], shown["eta_s"]) == (None, None, None)
    assert len(shown["images"]) == 1
    loaded = database.job(job.id)
    assert loaded is not None
    assert loaded.latency_s is not None
    assert loaded.latency_s >= 0


def test_a_failed_job_keeps_its_error(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    error = {"code": "out_of_memory", "message": "the device ran out of memory"}
    assert database.finish_job(job_id, "failed", error)
    assert body(database, job_id)["error"] == error
    assert not database.finish_job(job_id, "succeeded")
    assert body(database, job_id)["state"] == "failed"


def test_exactly_one_of_many_racing_callers_ends_a_job(
    database: Database, database_url: str, make_job: JobMaker
) -> None:
    job_id = add(database, make_job())
    databases = [Database(database_url) for _ in range(8)]
    barrier = threading.Barrier(8)

    def finish(other: Database) -> bool:
        barrier.wait()
        return other.finish_job(job_id, "succeeded")

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(finish, databases)) == [False] * 7 + [True]
    for other in databases:
        other.close()
    assert types(database, job_id) == ["queued", "succeeded"]


def test_writers_in_many_threads_do_not_lock_each_other_out(
    database_url: str, database: Database, make_job: JobMaker
) -> None:
    ids = [add(database, make_job()) for _ in range(4)]

    def work(job_id: str) -> None:
        other = Database(database_url)
        for step in range(1, 26):
            other.progress(job_id, "c", step, 25, 0)
        other.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ids))
    for job_id in ids:
        steps = [event.data["step"] for event in database.events(job_id, limit=50)[1:]]
        assert steps == list(range(1, 26))
    ordered = [event.id for event in database.events_since(0)]
    assert ordered == sorted(set(ordered))


def _create_and_insert(url: str, job: NewJob) -> None:
    database = Database(url)
    database.create_tables()
    database.insert_job(job)


def test_processes_that_start_together_can_all_create_the_tables(
    database_url: str, make_job: JobMaker
) -> None:
    spawn = multiprocessing.get_context("spawn")
    jobs = [make_job() for _ in range(3)]
    starters = [spawn.Process(target=_create_and_insert, args=(database_url, job)) for job in jobs]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(60)
    assert [starter.exitcode for starter in starters] == [0, 0, 0]
    assert Database(database_url).open_job_ids() == [job.id for job in jobs]


def test_creating_tables_again_keeps_what_is_there(database: Database, make_job: JobMaker) -> None:
    job_id = add(database, make_job())
    database.create_tables()
    assert database.open_job_ids() == [job_id]


def test_jobs_are_listed_newest_first_page_by_page(database: Database, make_job: JobMaker) -> None:
    ids = [add(database, make_job()) for _ in range(5)]
    first, cursor = database.list_jobs(limit=2)
    second, cursor = database.list_jobs(limit=2, cursor=cursor)
    third, end = database.list_jobs(limit=2, cursor=cursor)
    assert [job.id for job in first + second + third] == ids[::-1]
    assert end is None
    assert [job.position for job in first] == [4, 3]


def test_jobs_are_listed_by_state_and_user(database: Database, make_job: JobMaker) -> None:
    mine = add(database, make_job(user="ann"))
    add(database, make_job(user="bob"))
    done = add(database, make_job(user="ann"))
    database.finish_job(done, "succeeded")
    assert [job.id for job in database.list_jobs(user="ann")[0]] == [done, mine]
    assert [job.id for job in database.list_jobs("succeeded", "ann")[0]] == [done]
    assert database.list_jobs("failed") == ([], None)
    assert len(database.open_job_ids()) == 2


def test_the_queue_position_counts_open_jobs_created_before(
    database: Database, make_job: JobMaker
) -> None:
    ids = [add(database, make_job()) for _ in range(4)]
    assert [database.queue_position(job_id) for job_id in ids] == [0, 1, 2, 3]
    database.start_job(ids[0])
    assert database.queue_position(ids[3]) == 3
    database.finish_job(ids[0], "succeeded")
    assert database.queue_position(ids[3]) == 2
    assert database.events(ids[3])[0].data == {"position": 3, "eta_s": None}


def test_the_estimate_follows_the_mean_of_past_jobs_and_the_position(
    database: Database, make_job: JobMaker
) -> None:
    assert database.mean_job_s("generate") is None
    for seconds in (2.0, 4.0):
        finished_after(database, add(database, make_job()), seconds)
    assert database.mean_job_s("generate") == 3.0
    assert database.mean_job_s("vary_details") is None
    first, second = add(database, make_job()), add(database, make_job())
    assert body(database, first)["eta_s"] == 3.0
    assert body(database, second)["eta_s"] == 6.0
    assert database.events(second)[0].data == {"position": 1, "eta_s": 6.0}
    database.start_job(first)
    assert 0 < body(database, first)["eta_s"] <= 3.0


def test_the_mean_is_over_the_last_twenty_jobs(database: Database, make_job: JobMaker) -> None:
    finished_after(database, add(database, make_job()), 1000.0)
    for _ in range(20):
        finished_after(database, add(database, make_job()), 2.0)
    assert database.mean_job_s("generate") == 2.0


def test_events_resume_after_an_id(database: Database, make_job: JobMaker) -> None:
    first, second = add(database, make_job()), add(database, make_job())
    for step in range(1, 4):
        database.progress(first, "c", step, 3, 0)
        database.progress(second, "c", step, 3, 0)
    seen = database.events(first)
    assert [event.type for event in seen] == ["queued", "progress", "progress", "progress"]
    assert database.events(first, after_id=seen[1].id) == seen[2:]
    assert database.events(first, limit=2) == seen[:2]
    everything = database.events_since(0)
    assert len(everything) == 8
    assert everything[-1].id == database.last_event_id()
    assert database.events_since(everything[5].id) == everything[6:]
    assert seen[0].at.utcoffset() == timedelta(0)


def test_a_latent_is_kept_once_with_all_it_was_made_from(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.insert_job(job)
    row = latent_row(job)
    database.save_latent(row)
    database.save_latent(LatentRow(row.id, "other", 3, ModelRef("x", "y", "z"), row.request))
    assert database.latent(row.id) == row
    assert database.latent("nope") is None


def test_deleting_an_image_deletes_its_latent_and_names_its_previews(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=2)
    database.insert_job(job)
    for index in range(2):
        database.save_latent(latent_row(job, index))
        key = f"previews/{job.id}-{index}-c-5.webp"
        database.progress(job.id, "c", 5, 20, index, preview_key=key)
        database.save_image(job.images[index].id, 10)
    deleted = database.delete_image(job.images[0].id)
    assert deleted is not None
    assert deleted.latent_id == job.images[0].latent_id
    assert deleted.preview_names == ("0-c-5.webp",)
    image, latent = database.image(job.images[0].id), database.latent(deleted.latent_id)
    assert image is not None
    assert image.deleted_at is not None
    assert latent is not None
    assert latent.deleted_at is not None
    assert [shown["index"] for shown in body(database, job.id)["images"]] == [1]
    again = database.delete_image(job.images[0].id)
    assert again is not None
    assert again.latent_id == deleted.latent_id
    assert database.image(job.images[0].id) == image
    assert database.delete_image("nope") is None


def test_deleting_a_variation_leaves_the_originals_latent(
    database: Database, make_job: JobMaker
) -> None:
    original = make_job()
    database.insert_job(original)
    database.save_latent(latent_row(original))
    database.save_image(original.images[0].id, 10)
    latent_id = original.images[0].latent_id
    variation = make_job(kind="vary_details", latent_id=latent_id)
    database.insert_job(variation)
    database.save_image(variation.images[0].id, 10)

    deleted = database.delete_image(variation.images[0].id)
    assert deleted is not None
    assert deleted.latent_id is None
    kept = database.latent(latent_id)
    assert kept is not None
    assert kept.deleted_at is None

    deleted = database.delete_image(original.images[0].id)
    assert deleted is not None
    assert deleted.latent_id == latent_id


def test_sqlite_runs_in_wal_mode(database: Database) -> None:
    with database._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_database_without_tables_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="database does not answer"):
        Database(f"sqlite:///{tmp_path / 'empty.db'}").probe()


def test_request_survives_the_round_trip(
    database: Database, make_job: JobMaker, make_request: Callable[..., GenerationRequest]
) -> None:
    changes = {"prompt": "naïve \U0001f3a8 'quoted'", "seed": 2**32 - 1, "guidance_scale": 2.5}
    job = database.job(add(database, make_job(**changes)))
    assert job is not None
    assert job.request == make_request(**changes)
