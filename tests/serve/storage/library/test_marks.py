"""Stars, ratings and tags: their one form, and how pictures are found by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.storage.database import Database
from serve.storage.library.marks import MAX_TAGS, Marks, tag_of, tags_of
from serve.storage.library.query import LibraryQuery
from serve.storage.library.words import words_of
from serve.storage.lineage import Viewpoint
from serve.storage.records import NewJob, utc_now
from serve.storage.schema.tables import images, library, library_words

JobMaker = Callable[..., NewJob]
EVERYTHING = Viewpoint(None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def made(database: Database, make_job: JobMaker) -> Callable[..., str]:
    """Records a picture; returns its id."""

    def made(prompt: str, key_id: str | None = None) -> str:
        job = make_job(prompt=prompt)
        job = replace(job, owner=replace(job.owner, key_id=key_id))
        database.jobs.insert(job)
        database.images.save(job.images[0].id, 10, "a")
        return job.images[0].id

    return made


def mark(database: Database, image_id: str, noted: Marks) -> None:
    assert database.library.change_marks(EVERYTHING, image_id, lambda _: noted) is not None


def found(database: Database, text: str, key_id: str | None = None) -> list[str]:
    items = database.library.page(Viewpoint(key_id, None), LibraryQuery.parse(text), None, 100)
    return [item.prompt for item in items]


SEARCHES = [
    ("star:yes", ["both", "starred"]),
    ("star:no", ["plain", "rated"]),
    ("rating:>=3", ["both", "rated"]),
    ("rating:3", ["rated"]),
    ("rating:<=3", ["plain", "starred", "rated"]),
    ("rating:0", ["plain", "starred"]),
    ("star:yes rating:>=3", ["both"]),
    ("tag:shoe", ["both", "rated"]),
    ("tag:shoe tag:red-hat", ["rated"]),
    ("tag:shoe -tag:red-hat", ["both"]),
    ("tag:sho", []),
    ("shoe", []),
    ("tag:shoe rated", ["rated"]),
    ("rat* tag:SHOE", ["rated"]),
]


def test_pictures_are_found_by_their_marks(database: Database, made: Callable[..., str]) -> None:
    mark(database, made("rated"), Marks(rating=3, tags=("red-hat", "shoe")))
    mark(database, made("starred"), Marks(star=True))
    mark(database, made("both"), Marks(star=True, rating=5, tags=("shoe",)))
    made("plain")
    assert [(text, found(database, text)) for text, _ in SEARCHES] == SEARCHES


def test_a_search_follows_every_change(database: Database, made: Callable[..., str]) -> None:
    image_id = made("x")
    mark(database, image_id, Marks(star=True, rating=5, tags=("a", "b")))
    mark(database, image_id, Marks(rating=2, tags=("b", "c")))
    texts = ["star:yes", "rating:>=3", "tag:a", "rating:>=2", "tag:b", "tag:c"]
    assert [bool(found(database, text)) for text in texts] == [False] * 3 + [True] * 3


def test_the_marks_of_other_owners_find_nothing(
    database: Database, made: Callable[..., str]
) -> None:
    mark(database, made("ann", "k1"), Marks(star=True, tags=("shoe",)))
    assert found(database, "star:yes tag:shoe", "k1") == ["ann"]
    assert found(database, "star:yes", "k2") == found(database, "tag:shoe", "k2") == []


def test_marks_go_with_their_picture(database: Database, made: Callable[..., str]) -> None:
    image_id = made("red heart")
    mark(database, image_id, Marks(star=True, rating=5, tags=("shoe",)))
    database.images.delete(image_id)
    with database.reading() as connection:
        assert connection.execute(library.select()).all() == []
        assert connection.execute(library_words.select()).all() == []
    assert database.library.change_marks(EVERYTHING, image_id, lambda _: Marks(star=True)) is None


def test_a_picture_of_an_earlier_release_is_entered_when_it_is_marked(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(prompt="old")
    database.jobs.insert(job)
    with database.writing() as connection:
        connection.execute(images.update().values(ready_at=utc_now()))
    mark(database, job.images[0].id, Marks(star=True))
    assert found(database, "star:yes old") == ["old"]


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("Shoe", "shoe"),
        ("  Red  Hat ", "red-hat"),
        ("\uff33\uff28\uff2f\uff25", "shoe"),
        ("été", "été"),
        ("x" * 40, "x" * 40),
    ],
)
def test_a_tag_has_one_form(text: str, tag: str) -> None:
    assert tag_of(text) == tag


@pytest.mark.parametrize("text", ["", "  ", "x" * 41, "a\nb", "a\u202eb", "\x00", "\ud800"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        tag_of(text)


def test_a_picture_has_few_tags_each_once() -> None:
    assert tags_of(["b", "A", "a"]) == ("b", "a")
    with pytest.raises(ValueError, match="20"):
        tags_of(f"t{number}" for number in range(MAX_TAGS + 1))


@given(st.text(max_size=60))
def test_a_tag_is_a_word_that_no_prompt_has(text: str) -> None:
    try:
        tag = tag_of(text)
    except ValueError:
        return
    assert tag_of(tag) == tag
    assert len(tag.split()) == 1
    (word,) = Marks(tags=(tag,)).words
    assert word not in words_of(word)
