"""Pictures are found by owner, words and values, newest first, on both databases alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, update

from serve.storage.database import Database
from serve.storage.library.library_store import Place
from serve.storage.library.query import LibraryQuery
from serve.storage.lineage import Viewpoint
from serve.storage.records import NewJob, utc_now
from serve.storage.schema.tables import images, library, library_words
from tests.serve.storage.statements import counted
from tests.serve.storage.test_image_store import latent_row

JobMaker = Callable[..., NewJob]
EVERYTHING = Viewpoint(None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def made(database: Database, make_job: JobMaker) -> JobMaker:
    """Records a job with its pictures."""

    def made(prompt: str = "x", key_id: str | None = None, **changes: Any) -> NewJob:
        job = make_job(prompt=prompt, **changes)
        job = replace(job, owner=replace(job.owner, key_id=key_id))
        database.jobs.insert(job)
        for image in job.images:
            database.images.save_latent(latent_row(job, image.index), "c")
            database.images.save(image.id, 10, "a")
        return job

    return made


def found(database: Database, text: str = "", viewpoint: Viewpoint = EVERYTHING) -> list[str]:
    """Return the prompts that a search finds, in order."""
    items = database.library.page(viewpoint, LibraryQuery.parse(text), None, 100)
    return [item.prompt for item in items]


def test_a_picture_is_in_the_library_once_it_is_ready(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(prompt="Red heart", seed=5)
    database.jobs.insert(job)
    assert found(database) == []
    database.images.save(job.images[0].id, 10, "a")
    database.images.save(job.images[0].id, 10, "a")
    (item,) = database.library.page(EVERYTHING, LibraryQuery(), None, 10)
    body = item.to_json()
    assert (body["id"], body["job_id"], body["index"]) == (job.images[0].id, job.id, 0)
    assert (body["prompt"], body["seed"], body["kind"]) == ("Red heart", 5, "generate")
    assert body["thumb_url"] == f"/v1/thumbs/{item.id}"
    assert body["latent_id"] == job.images[0].latent_id


SEARCHES = [
    ("", ["BLUE heart", "a réd hearth", "red car and a heart", "red heart"]),
    ("red heart", ["red car and a heart", "red heart"]),
    ('"red heart"', ["red heart"]),
    ('"heart red"', []),
    ("heart -car", ["BLUE heart", "red heart"]),
    ('heart -"red car"', ["BLUE heart", "red heart"]),
    ("-heart", ["a réd hearth"]),
    ("RÉD", ["a réd hearth", "red car and a heart", "red heart"]),
    ("hear*", ["BLUE heart", "a réd hearth", "red car and a heart", "red heart"]),
    ("heart* -hearth", ["BLUE heart", "red car and a heart", "red heart"]),
    ("he* ca* an*", ["red car and a heart"]),
    ("he* red-ca*", ["red car and a heart"]),
    ('"red hear"', []),
    ("he%rt", []),
    ("red_heart", ["red heart"]),
    ("red' OR '1'='1", []),
    ("seed:3", ["red car and a heart"]),
    ("size:256x384 red heart", []),
    ("kind:generate blue", ["BLUE heart"]),
    ("kind:vary blue", []),
    ("after:2000-01-01 blue", ["BLUE heart"]),
    ("before:2000-01-01", []),
    ("...", ["BLUE heart", "a réd hearth", "red car and a heart", "red heart"]),
]


def test_a_search_finds_what_it_says(database: Database, made: JobMaker) -> None:
    made("red heart", seed=2)
    made("red car and a heart", seed=3)
    made("a réd hearth", seed=4)
    made("BLUE heart", seed=5)
    assert [(text, found(database, text)) for text, _ in SEARCHES] == SEARCHES


def test_many_beginnings_of_words_cost_one_look_up(database: Database, made: JobMaker) -> None:
    """The words that begin so can be most of a library's: each look-up reads them all."""
    made("red car and a heart")
    with counted(database) as statements:
        assert found(database, "re* ca* ca* an* -blu*") == ["red car and a heart"]
    (search, _), *_ = statements.made
    assert search.count("FROM library_words") == 1


def test_pages_follow_each_other_and_the_pictures_of_a_job_stay_together(
    database: Database, made: JobMaker
) -> None:
    jobs = [made("red", n=3), made("red", n=3)]
    seen, after = [], None
    while page := database.library.page(EVERYTHING, LibraryQuery.parse("red"), after, 2):
        seen += [(item.job_id, item.index) for item in page]
        after = seen[-1]
    assert seen == [(job.id, index) for job in reversed(jobs) for index in (2, 1, 0)]


def test_each_owner_finds_its_own_pictures_only(database: Database, made: JobMaker) -> None:
    made("red ann", key_id="k1", user="ann")
    made("red bob", key_id="k1", user="bob")
    made("red other", key_id="k2")
    made("red before keys")
    for text in ("", "red", "re*"):
        assert found(database, text, Viewpoint("k1", None)) == ["red bob", "red ann"]
        assert found(database, text, Viewpoint("k1", "ann")) == ["red ann"]
        assert found(database, text, Viewpoint("k2", None)) == ["red other"]
        assert found(database, text, Viewpoint("k3", None)) == []
        assert len(found(database, text)) == 4


def test_each_picture_of_a_series_is_found_by_its_own_prompt(
    database: Database, make_job: JobMaker
) -> None:
    hero = make_job()
    database.jobs.insert(hero)
    job = make_job(
        kind="series",
        prompt="a {colour} heart",
        variants=[{"colour": "red"}, {"colour": "blue"}],
        n=2,
        latent_id=hero.images[0].latent_id,
        strength=0.7,
    )
    database.jobs.insert(job)
    for image in job.images:
        database.images.save(image.id, 10, "a")
    assert found(database, "heart") == ["a blue heart", "a red heart"]
    assert found(database, "blue") == ["a blue heart"]


def test_a_deleted_picture_leaves_no_word(database: Database, made: JobMaker) -> None:
    job = made("red heart", n=2)
    database.images.delete(job.images[0].id)
    assert found(database, "red") == ["red heart"]
    database.images.delete(job.images[1].id)
    with database.reading() as connection:
        assert connection.execute(library.select()).all() == []
        assert connection.execute(library_words.select()).all() == []


def test_what_another_release_made_or_deleted_is_put_right(
    database: Database, made: JobMaker
) -> None:
    made("red heart")
    deleted = made("blue heart")
    with database.writing() as connection:
        connection.execute(delete(library_words))
        connection.execute(delete(library))
    assert found(database) == []
    assert database.library.enter_missing() == 2
    assert database.library.enter_missing() == 0
    assert found(database, "heart") == ["blue heart", "red heart"]
    with database.writing() as connection:
        gone = update(images).where(images.c.id == deleted.images[0].id)
        connection.execute(gone.values(deleted_at=utc_now()))
    assert found(database, "heart") == ["red heart"]
    assert database.library.remove_deleted() == 1
    assert database.library.remove_deleted() == 0


def test_the_timeline_counts_what_a_search_finds_by_day(database: Database, made: JobMaker) -> None:
    old, _ = made("red", n=2), made("red blue")
    with database.writing() as connection:
        of_old = update(library).where(library.c.job_id == old.id)
        connection.execute(of_old.values(day="2026-01-31"))
    timeline = database.library.timeline
    today = utc_now().date().isoformat()
    assert timeline(EVERYTHING, LibraryQuery()) == [(today, 1), ("2026-01-31", 2)]
    assert timeline(EVERYTHING, LibraryQuery.parse("blue")) == [(today, 1)]
    assert timeline(EVERYTHING, LibraryQuery.parse("before:2026-02-01 red")) == [("2026-01-31", 2)]
    assert timeline(Viewpoint("k1", None), LibraryQuery()) == []


def test_the_oldest_come_first_if_asked_and_a_place_is_good_for_both_orders(
    database: Database, made: JobMaker
) -> None:
    for prompt in ("red one", "red two", "red three"):
        made(prompt, n=2)

    def page(text: str, after: Place | None, **order: bool) -> list[Place]:
        query = LibraryQuery.parse(text)
        items = database.library.page(EVERYTHING, query, after, 4, **order)
        return [(item.job_id, item.index) for item in items]

    for text in ("", "red"):
        newest = page(text, None) + page(text, page(text, None)[-1])
        oldest = page(text, None, oldest_first=True)
        assert oldest + page(text, oldest[-1], oldest_first=True) == newest[::-1]
        assert page(text, newest[3], oldest_first=True) == newest[2::-1]
        assert page(text, newest[2]) == newest[3:]
