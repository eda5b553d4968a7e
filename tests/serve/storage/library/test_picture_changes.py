"""One thing done with many pictures, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from serve.storage.database import Database
from serve.storage.library import picture_changes
from serve.storage.library.actions import (
    Action,
    putting_on,
    rating,
    starring,
    tagging,
    taking_from,
    unstarring,
    untagging,
)
from serve.storage.library.marks import MAX_TAGS, Marks
from serve.storage.library.picture_changes import Outcome
from serve.storage.library.query import LibraryQuery
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, NewJob, utc_now
from serve.storage.schema.tables import images

JobMaker = Callable[..., NewJob]
EVERYTHING = Viewpoint(None, None)
ALL = LibraryQuery()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def made(database: Database, make_job: JobMaker) -> Callable[..., str]:
    """Records a picture; returns its id."""

    def made(prompt: str = "x", key_id: str | None = None) -> str:
        job = make_job(prompt=prompt)
        job = replace(job, owner=replace(job.owner, key_id=key_id))
        database.jobs.insert(job)
        database.images.save(job.images[0].id, 10, "a")
        return job.images[0].id

    return made


def marks(database: Database) -> list[Marks]:
    """Return the marks of all pictures, newest first."""
    return [item.marks for item in database.library.page(EVERYTHING, ALL, None, 100)]


def test_each_action_changes_what_is_due_and_nothing_twice(
    database: Database, made: Callable[..., str]
) -> None:
    ids = [made(), made()]
    board_id = database.boards.create(JobOwner(None, None), "x").id
    actions = [starring(), rating(4), tagging("shoe"), putting_on(board_id)]
    for action in actions:
        assert database.pictures.change(EVERYTHING, ids[:1], action) == Outcome(1)
        assert database.pictures.change(EVERYTHING, ids, action) == Outcome(1)
        assert database.pictures.change(EVERYTHING, ids, action) == Outcome(0)
    assert marks(database) == [Marks(star=True, rating=4, tags=("shoe",))] * 2
    for action in [unstarring(), rating(0), untagging("shoe"), taking_from(board_id)]:
        assert database.pictures.change_found(EVERYTHING, ALL, action) == Outcome(2)
        assert database.pictures.change_found(EVERYTHING, ALL, action) == Outcome(0)
    assert marks(database) == [Marks(), Marks()]


def repeated(database: Database, text: str, action: Action) -> list[int]:
    """Do something with two pictures at a time until all are done; returns how many each time."""
    changed, query = [], LibraryQuery.parse(text)
    while True:
        outcome = database.pictures.change_found(EVERYTHING, query, action, limit=2)
        changed.append(outcome.changed)
        if not outcome.has_more:
            return changed


def test_a_search_is_worked_off_a_few_pictures_at_a_time(
    database: Database, made: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_changes, "_BATCH", 1)
    for number in range(5):
        made("red" if number else "blue")
    assert repeated(database, "red", starring()) == [2, 2]
    assert repeated(database, "", starring()) == [1]
    assert repeated(database, "star:yes", unstarring()) == [2, 2, 1]
    assert repeated(database, "rating:0 red", rating(3)) == [2, 2]


def test_what_cannot_be_changed_is_named_and_holds_up_nothing(
    database: Database, made: Callable[..., str]
) -> None:
    ids = [made() for _ in range(4)]
    full = Marks(tags=tuple(f"t{number}" for number in range(MAX_TAGS)))
    for image_id in ids[1:]:
        database.library.change_marks(EVERYTHING, image_id, lambda _: full)
    outcome = database.pictures.change(EVERYTHING, [*ids, "nope"], tagging("more"))
    assert outcome == Outcome(1, ["nope"], sorted(ids[1:]))
    outcome = database.pictures.change_found(EVERYTHING, ALL, tagging("other"), limit=2)
    assert (outcome.changed, outcome.has_more) == (1, False)
    assert set(outcome.impossible_ids) < set(ids[1:])
    assert marks(database) == [full] * 3 + [Marks(tags=("more", "other"))]
    assert database.pictures.change(EVERYTHING, ids, untagging("t0")).changed == 3
    assert database.pictures.change(EVERYTHING, ids, tagging("last")).changed == 4


def test_only_pictures_that_are_seen_are_changed(
    database: Database, made: Callable[..., str]
) -> None:
    ann, bob = made(key_id="ann"), made(key_id="bob")
    anns = Viewpoint("ann", None)
    assert database.pictures.change(anns, [ann, bob], starring()) == Outcome(1, [bob])
    assert database.pictures.change_found(anns, ALL, rating(5)) == Outcome(1)
    assert marks(database) == [Marks(), Marks(star=True, rating=5)]
    assert database.pictures.seen_ids(anns, [bob, ann, "../x", "a\0b", ann]) == [ann]


def test_a_picture_of_an_earlier_release_is_entered_for_it(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    job = replace(job, owner=replace(job.owner, key_id="ann"))
    database.jobs.insert(job)
    with database.writing() as connection:
        connection.execute(images.update().values(ready_at=utc_now()))
    image_id = job.images[0].id
    assert database.pictures.seen_ids(Viewpoint("bob", None), [image_id]) == []
    assert database.pictures.change(Viewpoint("ann", None), [image_id], starring()).changed == 1
    assert marks(database) == [Marks(star=True)]
