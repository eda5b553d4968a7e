"""Boards on both databases: their pictures, their owners, what goes with what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cascade_core.errors import Conflict
from serve.storage.database import Database
from serve.storage.library import board_store
from serve.storage.library.actions import putting_on, taking_from
from serve.storage.library.query import LibraryQuery
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, NewJob
from serve.storage.schema.tables import board_pictures

JobMaker = Callable[..., NewJob]
EVERYTHING = Viewpoint(None, None)
ANN = JobOwner("k1", None)
ANNS = Viewpoint("k1", None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def made(database: Database, make_job: JobMaker) -> Callable[..., str]:
    """Records a picture; returns its id."""

    def made(prompt: str, key_id: str | None = "k1") -> str:
        job = make_job(prompt=prompt)
        job = replace(job, owner=replace(job.owner, key_id=key_id))
        database.jobs.insert(job)
        database.images.save(job.images[0].id, 10, "a")
        return job.images[0].id

    return made


def found(database: Database, text: str, viewpoint: Viewpoint = ANNS) -> list[str]:
    items = database.library.page(viewpoint, LibraryQuery.parse(text), None, 100)
    return [item.prompt for item in items]


def entries(database: Database) -> int:
    with database.reading() as connection:
        return len(connection.execute(board_pictures.select()).all())


def test_pictures_are_found_by_the_boards_that_they_are_on(
    database: Database, made: Callable[..., str]
) -> None:
    red, blue, _ = made("red heart"), made("blue heart"), made("red ring")
    first, second = (database.boards.create(ANN, title).id for title in ("one", "two"))
    assert database.pictures.change(ANNS, [red, blue], putting_on(first)).changed == 2
    assert database.pictures.change(ANNS, [red, blue], putting_on(first)).changed == 0
    assert database.pictures.change(ANNS, [blue], putting_on(second)).changed == 1
    assert found(database, f"board:{first}") == ["blue heart", "red heart"]
    assert found(database, f"board:{first} red") == ["red heart"]
    assert found(database, f"board:{first} board:{second}") == ["blue heart"]
    assert found(database, f"board:{first} -blue hea*") == ["red heart"]
    shown = database.library.page(ANNS, LibraryQuery(), None, 10)
    assert [set(item.boards) for item in shown] == [set(), {first, second}, {first}]
    counts = {board.title: board.count for board in database.boards.all(ANNS)}
    assert counts == {"one": 2, "two": 1}
    assert database.pictures.change(ANNS, [blue], taking_from(first)).changed == 1
    assert found(database, f"board:{first}") == ["red heart"]
    days = database.library.timeline(ANNS, LibraryQuery.parse(f"board:{first}"))
    assert [count for _, count in days] == [1]


def test_boards_are_their_owners_alone(database: Database, made: Callable[..., str]) -> None:
    board_id = database.boards.create(ANN, "hers").id
    of_user = database.boards.create(JobOwner("k1", "bob"), "bob's").id
    database.pictures.change(EVERYTHING, [made("red")], putting_on(board_id))
    for stranger in (Viewpoint("k2", None), Viewpoint("k1", "bob")):
        assert board_id not in [board.id for board in database.boards.all(stranger)]
        assert not database.boards.rename(stranger, board_id, "mine")
        assert not database.boards.delete(stranger, board_id)
        assert found(database, f"board:{board_id}", stranger) == []
    assert {board.id for board in database.boards.all(ANNS)} == {board_id, of_user}
    assert len(database.boards.all(EVERYTHING)) == 2


def test_a_board_of_another_owner_is_neither_searched_nor_shown(
    database: Database, made: Callable[..., str]
) -> None:
    image_id = made("red")
    of_admin = database.boards.create(JobOwner("root", None), "seen by admins").id
    database.pictures.change(EVERYTHING, [image_id], putting_on(of_admin))
    assert found(database, f"board:{of_admin}") == []
    assert found(database, f"board:{of_admin}", EVERYTHING) == ["red"]
    (item,) = database.library.page(ANNS, LibraryQuery(), None, 10)
    assert item.boards == ()


def test_a_deleted_picture_leaves_its_boards(database: Database, made: Callable[..., str]) -> None:
    image_id, board_id = made("red"), database.boards.create(ANN, "x").id
    database.pictures.change(ANNS, [image_id], putting_on(board_id))
    database.images.delete(image_id)
    assert entries(database) == 0


def test_a_deleted_board_keeps_its_pictures_and_its_entries_go_later(
    database: Database, made: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [made("red") for _ in range(3)]
    gone, kept = (database.boards.create(ANN, title).id for title in "ab")
    for board_id in (gone, kept):
        database.pictures.change(ANNS, ids, putting_on(board_id))
    assert database.boards.delete(ANNS, gone)
    assert not database.boards.delete(ANNS, gone)
    assert found(database, f"board:{gone}") == []
    assert len(found(database, "red")) == 3
    monkeypatch.setattr(board_store, "_BATCH", 2)
    assert database.boards.remove_unused() == 3
    assert entries(database) == 3
    assert len(found(database, f"board:{kept}")) == 3


def test_an_owner_has_a_limited_number_of_boards(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_store, "MAX_BOARDS", 2)
    titles = ["first", "second"]
    for title in titles:
        database.boards.create(ANN, title)
    with pytest.raises(Conflict, match="2 boards"):
        database.boards.create(ANN, "third")
    database.boards.create(JobOwner("k1", "bob"), "third")
    assert [board.title for board in database.boards.all(Viewpoint("k1", ""))] == titles[::-1]
