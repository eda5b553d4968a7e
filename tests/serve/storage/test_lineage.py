"""Parents and children of pictures, and which latents a deletion leaves, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, text

from serve.storage.database import Database
from serve.storage.lineage import MAX_NAMED, Viewpoint
from serve.storage.records import ImageRow, NewJob, utc_now
from serve.storage.schema.tables import images
from tests.serve.storage.statements import counted
from tests.serve.storage.test_image_store import latent_row

JobMaker = Callable[..., NewJob]
EVERYTHING = Viewpoint(None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def accepted(database: Database, make_job: JobMaker) -> JobMaker:
    """Records a job that composes its images, or draws details on a stored latent."""

    def accepted(**changes: Any) -> NewJob:
        kind = "vary_details" if "latent_id" in changes else "generate"
        job = make_job(**{"kind": kind, **changes})
        database.jobs.insert(job)
        return job

    return accepted


@pytest.fixture
def finished(database: Database, accepted: JobMaker) -> JobMaker:
    """Records a job with all that it makes."""

    def finished(**changes: Any) -> NewJob:
        job = accepted(**changes)
        for image in job.images:
            if image.latent_id != job.request.latent_id:
                database.images.save_latent(latent_row(job, image.index), "c")
            database.images.save(image.id, 10, "a")
        database.jobs.finish(job.id, "succeeded")
        return job

    return finished


def image_of(database: Database, job: NewJob, index: int = 0) -> ImageRow:
    image = database.images.get(job.images[index].id)
    assert image is not None
    return image


def children(
    database: Database, job: NewJob, viewpoint: Viewpoint = EVERYTHING, index: int = 0
) -> list[str | None]:
    found, _ = database.lineage.children(image_of(database, job, index), viewpoint, None, 50)
    return [child.image_id for child in found]


def is_latent_there(database: Database, latent_id: str) -> bool:
    latent = database.images.latent(latent_id)
    return latent is not None and latent.deleted_at is None


def test_a_variation_and_the_picture_of_its_latent_name_each_other(
    database: Database, finished: JobMaker
) -> None:
    original = finished(n=2)
    latent_id = original.images[1].latent_id
    variation = finished(latent_id=latent_id)
    image = image_of(database, variation)
    assert (image.source_latent_id, image.source_image_id) == (latent_id, original.images[1].id)
    (parent,) = database.lineage.parents(image, EVERYTHING)
    assert parent.to_json() == {
        "operation": "vary_details",
        "strength": None,
        "image_id": original.images[1].id,
        "latent_id": latent_id,
        "job_id": original.id,
        "is_deleted": False,
    }
    (child,), more = database.lineage.children(
        image_of(database, original, 1), EVERYTHING, None, 50
    )
    assert more is None
    assert child.to_json() == parent.to_json() | {"image_id": image.id, "job_id": variation.id}
    assert children(database, original) == []
    assert database.lineage.parents(image_of(database, original), EVERYTHING) == []


def test_a_jobs_json_says_what_its_images_are_made_from(
    database: Database, finished: JobMaker
) -> None:
    original = finished()
    latent_id = original.images[0].latent_id
    variation = finished(latent_id=latent_id, n=2)
    shown = {job.id: database.jobs.get(job.id) for job in (original, variation)}
    assert [image["derived_from"] for image in shown[original.id].to_json()["images"]] == [None]  # type: ignore[union-attr]
    source = {
        "operation": "vary_details",
        "strength": None,
        "latent_id": latent_id,
        "image_id": original.images[0].id,
    }
    derived = [image["derived_from"] for image in shown[variation.id].to_json()["images"]]  # type: ignore[union-attr]
    assert derived == [source] * 2


def test_what_is_made_from_a_shared_latent_descends_from_the_picture_that_it_was_made_for(
    database: Database, finished: JobMaker
) -> None:
    original = finished()
    variations = [finished(latent_id=original.images[0].latent_id) for _ in range(2)]
    assert children(database, original) == [job.images[0].id for job in reversed(variations)]
    assert children(database, variations[0]) == []


def test_a_picture_with_a_latent_of_its_own_has_parents_and_children(
    database: Database, finished: JobMaker
) -> None:
    original = finished()
    middle = finished(latent_id=original.images[0].latent_id, kind="vary", strength=0.7)
    own_latent_id = middle.images[0].latent_id
    youngest = finished(latent_id=own_latent_id)
    assert children(database, original) == [middle.images[0].id]
    (child,), _ = database.lineage.children(image_of(database, original), EVERYTHING, None, 50)
    assert (child.operation, child.strength, child.latent_id) == ("vary", 0.7, own_latent_id)
    assert children(database, middle) == [youngest.images[0].id]
    (parent,) = database.lineage.parents(image_of(database, youngest), EVERYTHING)
    assert (parent.image_id, parent.latent_id) == (middle.images[0].id, own_latent_id)


def test_children_come_page_by_page_without_deleted_and_unfinished_ones(
    database: Database, finished: JobMaker, accepted: JobMaker
) -> None:
    original = finished()
    latent_id = original.images[0].latent_id
    made = [finished(latent_id=latent_id).images[0].id for _ in range(5)]
    database.images.delete(made[2])
    accepted(latent_id=latent_id)
    image, pages, cursor = image_of(database, original), [], None
    while True:
        found, cursor = database.lineage.children(image, EVERYTHING, cursor, 2)
        pages.append([child.image_id for child in found])
        if cursor is None:
            break
    assert pages == [[made[4], made[3]], [made[1], made[0]]]


def test_a_deleted_parent_and_a_composition_without_a_picture_are_named_as_such(
    database: Database, finished: JobMaker, accepted: JobMaker
) -> None:
    original = finished()
    variation = finished(latent_id=original.images[0].latent_id)
    database.images.delete(original.images[0].id)
    (parent,) = database.lineage.parents(image_of(database, variation), EVERYTHING)
    assert (parent.image_id, parent.is_deleted) == (original.images[0].id, True)
    assert children(database, original) == [variation.images[0].id]
    composition = accepted()
    database.images.save_latent(latent_row(composition), "c")
    drawn = finished(latent_id=composition.images[0].latent_id)
    image = image_of(database, drawn)
    (parent,) = database.lineage.parents(image, EVERYTHING)
    assert (parent.image_id, parent.job_id, parent.is_deleted) == (None, composition.id, False)
    assert image.source_image_id is None


def test_pictures_of_others_are_not_named(database: Database, finished: JobMaker) -> None:
    original = finished(user="ann")
    latent_id = original.images[0].latent_id
    by_user = {user: finished(latent_id=latent_id, user=user).images[0].id for user in ("ann", "b")}
    with database.writing() as connection:
        connection.execute(text("UPDATE jobs SET owner = 'key'"))
    theirs = image_of(database, finished(latent_id=latent_id, user="b"))
    assert children(database, original, Viewpoint("key", None)) == [by_user["b"], by_user["ann"]]
    assert children(database, original, Viewpoint("key", "b")) == [by_user["b"]]
    assert children(database, original, Viewpoint("other", None)) == []
    image = image_of(database, original)
    assert database.lineage.dependants(image, Viewpoint("key", "b")).image_ids == (by_user["b"],)
    assert database.lineage.dependants(image, Viewpoint("other", None)).count == 0
    for stranger in (Viewpoint("other", None), Viewpoint("key", "b")):
        assert database.lineage.parents(theirs, stranger) == []
    assert len(database.lineage.parents(theirs, Viewpoint("key", "ann"))) == 1


def test_dependants_are_pictures_and_those_of_open_jobs_all_counted_and_the_newest_named(
    database: Database, finished: JobMaker, accepted: JobMaker
) -> None:
    original = finished()
    latent_id = original.images[0].latent_id
    drawn = finished(latent_id=latent_id, n=8)
    failed = accepted(latent_id=latent_id)
    database.jobs.finish(failed.id, "failed", {"code": "internal", "message": "no"})
    still_open = accepted(latent_id=latent_id)
    found = database.lineage.dependants(image_of(database, original), EVERYTHING)
    assert found.count == 9
    wanted = {image.id for image in (*drawn.images, *still_open.images)}
    assert set(found.image_ids) == wanted
    for _ in range(2):
        finished(latent_id=latent_id, n=8)
    found = database.lineage.dependants(image_of(database, original), EVERYTHING)
    assert (found.count, len(found.image_ids)) == (25, MAX_NAMED)


def test_a_latent_stays_while_a_variation_shows_it(database: Database, finished: JobMaker) -> None:
    original = finished()
    latent_id = original.images[0].latent_id
    variation = finished(latent_id=latent_id)
    deleted = database.images.delete(original.images[0].id)
    assert deleted is not None
    assert deleted.latent_ids == ()
    assert is_latent_there(database, latent_id)
    deleted = database.images.delete(variation.images[0].id)
    assert deleted is not None
    assert deleted.latent_ids == (latent_id,)
    assert not is_latent_there(database, latent_id)


def test_a_latent_stays_while_an_open_job_starts_from_it(
    database: Database, finished: JobMaker, accepted: JobMaker
) -> None:
    original = finished()
    latent_id = original.images[0].latent_id
    job = accepted(latent_id=latent_id, kind="vary", strength=0.7)
    database.images.delete(original.images[0].id)
    assert is_latent_there(database, latent_id)
    database.jobs.finish(job.id, "succeeded")
    database.images.delete(original.images[0].id)
    assert not is_latent_there(database, latent_id)


def test_a_variation_that_failed_keeps_no_latent(
    database: Database, finished: JobMaker, accepted: JobMaker
) -> None:
    original = finished()
    failed = accepted(latent_id=original.images[0].latent_id)
    database.jobs.finish(failed.id, "failed", {"code": "internal", "message": "no"})
    database.images.delete(original.images[0].id)
    assert not is_latent_there(database, original.images[0].latent_id)


def test_a_variation_of_a_composition_without_a_picture_does_not_take_it_along(
    database: Database, finished: JobMaker, accepted: JobMaker
) -> None:
    composition = accepted()
    database.images.save_latent(latent_row(composition), "c")
    database.jobs.finish(composition.id, "cancelled")
    drawn = finished(latent_id=composition.images[0].latent_id)
    database.images.delete(drawn.images[0].id)
    assert is_latent_there(database, composition.images[0].latent_id)


def test_children_and_parents_are_found_by_indexes(database: Database, finished: JobMaker) -> None:
    """However many pictures there are."""
    original = finished()
    variation = finished(latent_id=original.images[0].latent_id)
    same = {"index": 0, "seed": 1, "decoder_seed": 1, "width": 256, "height": 256, "format": "png"}
    many = [
        same
        | {"id": f"X{number}", "job_id": f"J{number}", "latent_id": f"L{number}"}
        | {"source_latent_id": f"L{number // 2}", "ready_at": utc_now()}
        for number in range(20_000)
    ]
    with database.writing() as connection:
        connection.execute(insert(images), many)
        connection.execute(text("ANALYZE"))
    with counted(database) as found:
        database.lineage.children(image_of(database, original), EVERYTHING, None, 50)
        database.lineage.dependants(image_of(database, original), EVERYTHING)
        database.lineage.parents(image_of(database, variation), EVERYTHING)
        database.images.delete(variation.images[0].id)
    is_postgresql = database._engine.dialect.name == "postgresql"
    explain = "EXPLAIN " if is_postgresql else "EXPLAIN QUERY PLAN "
    reads = [made for made in found.made if made[0].startswith("SELECT") and "images" in made[0]]
    assert len(reads) >= 6
    with database.reading() as connection:
        for statement, values in reads:
            plan = str(connection.exec_driver_sql(explain + statement, values).all())
            assert "Seq Scan on images" not in plan, statement
            assert "SCAN images" not in plan, statement
