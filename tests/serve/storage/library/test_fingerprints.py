"""The nearest pictures are found among those that are seen, on both databases alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from serve.storage.database import Database
from serve.storage.library.entries import SmallFiles
from serve.storage.library.fingerprints import MAX_DISTANCE, MAX_NEAREST
from serve.storage.lineage import Viewpoint
from serve.storage.records import NewJob
from serve.storage.schema.tables import library

JobMaker = Callable[..., NewJob]
Make = Callable[..., str]
EVERYTHING = Viewpoint(None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def make(database: Database, make_job: JobMaker) -> Make:
    """Records a picture with a fingerprint; returns its id."""

    def make(fingerprint: int | None, key_id: str | None = None, user: str | None = None) -> str:
        job = make_job(user)
        job = replace(job, owner=replace(job.owner, key_id=key_id))
        database.jobs.insert(job)
        image_id = job.images[0].id
        database.images.save(image_id, 10, "a", small=SmallFiles(1, fingerprint))
        return image_id

    return make


def near(
    database: Database, fingerprint: int, viewpoint: Viewpoint = EVERYTHING, *states: str
) -> list[tuple[str, int]]:
    found = database.fingerprints.nearest(viewpoint, states, fingerprint)
    return [(one.image_id, one.distance) for one in found]


def test_the_nearest_come_first_of_equals_the_newest_and_far_ones_not_at_all(
    database: Database, make: Make
) -> None:
    equal, close = make(-1), make(-4)
    make(0)
    make(None)
    again = make(-1)
    far, too_far = make(-(2**MAX_DISTANCE)), make(-(2 ** (MAX_DISTANCE + 1)))
    found = near(database, -1)
    assert found == [(again, 0), (equal, 0), (close, 2), (far, MAX_DISTANCE)]
    assert near(database, 2**63 - 1) == [(again, 1), (equal, 1), (close, 3)]
    assert too_far not in dict(found)


def test_few_are_found_however_many_are_equal(database: Database, make: Make) -> None:
    ids = [make(5) for _ in range(MAX_NEAREST + 1)]
    assert near(database, 5) == [(image_id, 0) for image_id in reversed(ids[1:])]


def test_other_owners_pictures_are_not_found_unless_their_state_shows_them(
    database: Database, make: Make
) -> None:
    own, own_user, other = make(1, "ann"), make(1, "ann", "u1"), make(1, "bob")
    ann = Viewpoint("ann", None)
    assert near(database, 1, ann) == [(own_user, 0), (own, 0)]
    assert near(database, 1, Viewpoint("ann", "u1")) == [(own_user, 0)]
    shown = update(library).where(library.c.image_id == other).values(state="approved")
    with database.writing() as connection:
        connection.execute(shown)
    assert near(database, 1, ann, "published") == [(own_user, 0), (own, 0)]
    assert near(database, 1, ann, "approved") == [(other, 0), (own_user, 0), (own, 0)]


def test_a_deleted_picture_is_not_found(database: Database, make: Make) -> None:
    image_id = make(1)
    database.images.delete(image_id)
    assert near(database, 1) == []
