from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cascade_core.errors import RecordNewer
from cascade_core.handoff import ModelRef
from serve.storage.database import Database
from serve.storage.image_store import latent_values
from serve.storage.records import LatentRow, NewJob
from tests.serve.recorded_jobs import make_newer, record_step

JobMaker = Callable[..., NewJob]
MODEL = ModelRef("demo", "1", "abc")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def body(database: Database, job_id: str) -> dict[str, Any]:
    job = database.jobs.get(job_id)
    assert job is not None
    return job.to_json()


def types(database: Database, job_id: str) -> list[str]:
    return [event.type for event in database.events.of_job(job_id)]


def latent_row(job: NewJob, index: int = 0) -> LatentRow:
    request = job.request.for_image(index)
    return LatentRow(job.images[index].latent_id, job.id, index, MODEL, request)


def test_a_saved_image_appears_once(database: Database, make_job: JobMaker) -> None:
    job = make_job(n=2)
    database.jobs.insert(job)
    assert database.images.get(job.images[1].id) is None
    assert database.images.save(job.images[1].id, 1234, "a", 0.5)
    assert not database.images.save(job.images[1].id, 1234, "a", 0.5)
    assert not database.images.save("nope", 1, "a", 0.5)
    assert types(database, job.id) == ["queued", "image"]
    assert database.events.of_job(job.id)[-1].data == {
        "index": 1,
        "id": job.images[1].id,
        "latent_id": job.images[1].latent_id,
        "seed": 8,
        "decoder_seed": 8,
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
            "stage_c": None,
            "derived_from": None,
        }
    ]


def test_an_image_saved_by_racing_callers_is_told_once(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.jobs.insert(job)
    barrier = threading.Barrier(4)

    def save(_number: int) -> bool:
        barrier.wait()
        database.images.save_latent(latent_row(job), "c")
        return database.images.save(job.images[0].id, 10, "a")

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(save, range(4))) == [False] * 3 + [True]
    assert types(database, job.id) == ["queued", "image"]


def test_planned_images_are_known_before_they_are_ready(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=3)
    database.jobs.insert(job)
    database.images.save(job.images[2].id, 10, "a")
    loaded = database.jobs.get(job.id)
    assert loaded is not None
    assert [image.id for image in loaded.images] == [image.id for image in job.images]
    assert [image.ready for image in loaded.images] == [False, False, True]


def test_an_image_that_comes_after_the_end_is_not_shown_and_its_cost_is(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.jobs.insert(job)
    database.jobs.finish(job.id, "cancelled")
    assert not database.images.save(job.images[0].id, 10, "a", 0.5, {"b": 0.25})
    assert database.images.get(job.images[0].id) is None
    assert types(database, job.id) == ["queued", "cancelled"]
    assert body(database, job.id)["cost"] == {"c_s": 0, "b_s": 0.25, "a_s": 0.5}


def test_an_image_that_is_saved_again_as_its_answer_was_lost_costs_once(
    database: Database, make_job: JobMaker
) -> None:
    for is_cancelled_first in (True, False):
        job = make_job()
        database.jobs.insert(job)
        if is_cancelled_first:
            database.jobs.finish(job.id, "cancelled")
        database.images.save(job.images[0].id, 10, "a", 0.5, {"b": 0.25})
        database.jobs.finish(job.id, "cancelled")
        assert not database.images.save(job.images[0].id, 10, "a", 0.5, {"b": 0.25})
        assert body(database, job.id)["cost"] == {"c_s": 0, "b_s": 0.25, "a_s": 0.5}


def test_a_latent_is_kept_once_with_all_it_was_made_from(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.jobs.insert(job)
    row = latent_row(job)
    database.images.save_latent(row, "c")
    database.images.save_latent(
        LatentRow(row.id, "other", 3, ModelRef("x", "y", "z"), row.request), "c"
    )
    assert database.images.latent(row.id) == row
    assert database.images.latent("nope") is None


def test_deleting_an_image_deletes_its_latent_and_names_its_previews(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=2)
    database.jobs.insert(job)
    for index in range(2):
        database.images.save_latent(latent_row(job, index), "c")
        key = f"previews/{job.id}-{index}-c-5.webp"
        record_step(database, job.id, "c", 5, 20, index, preview_key=key)
        database.images.save(job.images[index].id, 10, "a")
    deleted = database.images.delete(job.images[0].id)
    assert deleted is not None
    assert deleted.latent_ids == (job.images[0].latent_id,)
    assert deleted.preview_names == ("0-c-5.webp",)
    image = database.images.get(job.images[0].id)
    latent = database.images.latent(job.images[0].latent_id)
    assert image is not None
    assert image.deleted_at is not None
    assert latent is not None
    assert latent.deleted_at is not None
    assert [shown["index"] for shown in body(database, job.id)["images"]] == [1]
    again = database.images.delete(job.images[0].id)
    assert again is not None
    assert again.latent_ids == deleted.latent_ids
    assert database.images.get(job.images[0].id) == image
    assert database.images.delete("nope") is None


def test_deleting_a_variation_leaves_the_originals_latent(
    database: Database, make_job: JobMaker
) -> None:
    original = make_job()
    database.jobs.insert(original)
    database.images.save_latent(latent_row(original), "c")
    database.images.save(original.images[0].id, 10, "a")
    latent_id = original.images[0].latent_id
    variation = make_job(kind="vary_details", latent_id=latent_id)
    database.jobs.insert(variation)
    database.images.save(variation.images[0].id, 10, "a")

    deleted = database.images.delete(variation.images[0].id)
    assert deleted is not None
    assert deleted.latent_ids == ()
    kept = database.images.latent(latent_id)
    assert kept is not None
    assert kept.deleted_at is None

    deleted = database.images.delete(original.images[0].id)
    assert deleted is not None
    assert deleted.latent_ids == (latent_id,)


def test_the_digest_of_a_stored_latent_is_the_same_in_every_release(make_job: JobMaker) -> None:
    changes = {"negative_prompt": "blue", "height": 384, "steps": 12, "guidance_scale": 4.5}
    digest = latent_values(latent_row(make_job(**changes)))["content"]
    assert digest == "3880542f360cdc25f78297681b1760d2ec4430475bd9165b478b241e346c92b9"


def test_an_equal_latent_that_only_a_later_release_can_read_is_not_reused(
    database: Database, make_job: JobMaker
) -> None:
    job, other = make_job(), make_job()
    database.jobs.insert(job)
    database.jobs.insert(other)
    database.jobs.add_warnings(job.id, ["too large"])
    database.images.save_latent(latent_row(job), "c")
    request = job.request.for_image(0)
    assert database.images.find_equal_latent("abc", request, job.owner) is not None
    make_newer(database, job, kind="edit")
    assert database.images.find_equal_latent("abc", request, job.owner) is None
    with pytest.raises(RecordNewer):
        database.images.latent(job.images[0].latent_id)
    database.jobs.copy_warnings(job.id, other.id)
    assert body(database, other.id)["warnings"] == ["too large"]
