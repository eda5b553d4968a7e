"""What can be done with many pictures at once: marks, tags, boards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import ColumnElement, Connection, bindparam, delete, false, select

from serve.storage.library.board_store import on_board
from serve.storage.library.changes import Change, change_marks
from serve.storage.library.marks import FULL, MAX_TAGS, STAR, tag_word
from serve.storage.library.search import has_word
from serve.storage.schema.tables import board_pictures, insert_new, library


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do with pictures.

    Attributes:
        is_due: the condition of the pictures that it changes.
        apply: does it, in a transaction, with pictures of the library by their ids.
        is_impossible: the condition of pictures that it cannot change, although it should.
        reason: why not.
    """

    is_due: ColumnElement[bool]
    apply: Callable[[Connection, Sequence[str]], object]
    is_impossible: ColumnElement[bool] = false()  # noqa: RUF009  a constant of SQL
    reason: str = ""


def starring() -> Action:
    """Return the action that gives pictures a star."""
    return _marking(~has_word(STAR), lambda marks: replace(marks, star=True))


def unstarring() -> Action:
    """Return the action that takes the star of pictures."""
    return _marking(has_word(STAR), lambda marks: replace(marks, star=False))


def rating(value: int) -> Action:
    """Return the action that rates pictures; 0 takes the rating."""
    return _marking(library.c.rating != value, lambda marks: replace(marks, rating=value))


def tagging(tag: str) -> Action:
    """Return the action that adds a tag, to pictures that may have one more."""
    return replace(
        _marking(~has_word(tag_word(tag)), lambda marks: marks.with_tag(tag)),
        is_impossible=has_word(FULL),
        reason=f"it has {MAX_TAGS} tags already",
    )


def untagging(tag: str) -> Action:
    """Return the action that removes a tag."""
    return _marking(has_word(tag_word(tag)), lambda marks: marks.without_tag(tag))


def putting_on(board_id: str) -> Action:
    """Return the action that adds pictures to a board."""
    return Action(~on_board(board_id), partial(_put_on, board_id))


def taking_from(board_id: str) -> Action:
    """Return the action that removes pictures from a board."""
    return Action(on_board(board_id), partial(_take_from, board_id))


def _marking(is_due: ColumnElement[bool], change: Change) -> Action:
    return Action(is_due, lambda connection, image_ids: change_marks(connection, image_ids, change))


def _put_on(board_id: str, connection: Connection, image_ids: Sequence[str]) -> None:
    rows = [{"board_id": board_id, **place} for place in _places(connection, image_ids)]
    insert_new(connection, board_pictures, rows)


def _take_from(board_id: str, connection: Connection, image_ids: Sequence[str]) -> None:
    one = board_pictures.c
    is_row = one.job_id == bindparam("of_job"), one.index == bindparam("of_index")
    gone = delete(board_pictures).where(one.board_id == board_id, *is_row)
    rows = [
        {"of_job": place["job_id"], "of_index": place["index"]}
        for place in _places(connection, image_ids)
    ]
    if rows:
        connection.execute(gone, rows)


def _places(connection: Connection, image_ids: Sequence[str]) -> list[dict[str, str | int]]:
    """Return job and index of pictures, which no other transaction removes meanwhile."""
    query = select(library.c.job_id, library.c.index).where(library.c.image_id.in_(image_ids))
    query = query.order_by(library.c.job_id, library.c.index).with_for_update()
    return [dict(row) for row in connection.execute(query).mappings()]
