"""Boards: an owner's named collections of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from ulid import ULID

from cascade_core.errors import Conflict
from serve.storage.connections import Connections
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, iso_utc, utc_now
from serve.storage.schema.tables import board_pictures, boards, library

MAX_BOARDS: Final = 200
"""Of one owner."""
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Board:
    """A board, and how many pictures are on it."""

    id: str
    title: str
    created_at: datetime
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form."""
        return {
            "id": self.id,
            "title": self.title,
            "created_at": iso_utc(self.created_at),
            "count": self.count,
        }


class BoardStore:
    """Makes, lists and deletes boards; every method blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self, viewpoint: Viewpoint, board_id: str | None = None) -> list[Board]:
        """Return the boards that are seen, newest first; with an id, that one alone."""
        counted = select(func.count()).where(board_pictures.c.board_id == boards.c.id)
        columns = boards.c.id, boards.c.title, boards.c.created_at
        query = select(*columns, counted.scalar_subquery().label("count"))
        newest_first = boards.c.created_at.desc(), boards.c.id.desc()
        query = query.where(*seen_boards(viewpoint)).order_by(*newest_first)
        if board_id is not None:
            query = query.where(boards.c.id == board_id)
        with self._connections.reading() as connection:
            return [Board(**row) for row in connection.execute(query).mappings()]

    def create(self, owner: JobOwner, title: str) -> Board:
        """Make an empty board.

        Raises:
            Conflict: the owner has as many boards as it may have.
        """
        board = Board(str(ULID()), title, utc_now())
        names = {"owner": owner.key_id or "", "user": owner.user or ""}
        own = boards.c.owner == names["owner"], boards.c.user == names["user"]
        with self._connections.writing() as connection:
            count = connection.execute(select(func.count()).select_from(boards).where(*own))
            if count.scalar_one() >= MAX_BOARDS:
                raise Conflict(f"there are {MAX_BOARDS} boards already; delete one")
            values = {"id": board.id, "title": title, "created_at": board.created_at}
            connection.execute(insert(boards).values(**names, **values))
        return board

    def rename(self, viewpoint: Viewpoint, board_id: str, title: str) -> bool:
        """Give a board another title; False if there is none that is seen."""
        change = update(boards).where(boards.c.id == board_id, *seen_boards(viewpoint))
        with self._connections.writing() as connection:
            return connection.execute(change.values(title=title)).rowcount > 0

    def delete(self, viewpoint: Viewpoint, board_id: str) -> bool:
        """Delete a board, not its pictures; False if there is none that is seen.

        What was on it is removed by :meth:`remove_unused`.
        """
        gone = delete(boards).where(boards.c.id == board_id, *seen_boards(viewpoint))
        with self._connections.writing() as connection:
            return connection.execute(gone).rowcount > 0

    def remove_unused(self) -> int:
        """Remove the entries of deleted boards and pictures; returns how many."""
        is_board = select(boards.c.id).where(boards.c.id == board_pictures.c.board_id).exists()
        is_picture = select(library.c.image_id).where(_same_place()).exists()
        unused = select(board_pictures).where(or_(~is_board, ~is_picture)).limit(_BATCH)
        count = 0
        while True:  # in small transactions, so that jobs can write in between
            with self._connections.writing() as connection:
                rows = connection.execute(unused).mappings().all()
                named = [{f"gone_{name}": value for name, value in row.items()} for row in rows]
                if named:
                    connection.execute(_ENTRY_GONE, named)
            count += len(rows)
            if len(rows) < _BATCH:
                return count


_ENTRY_GONE = delete(board_pictures).where(
    *(column == bindparam(f"gone_{column.name}") for column in board_pictures.c)
)


def seen_boards(viewpoint: Viewpoint) -> list[ColumnElement[bool]]:
    """Return the conditions of the boards that are seen, as those of pictures."""
    wanted = ((boards.c.owner, viewpoint.key_id), (boards.c.user, viewpoint.user))
    return [column == value for column, value in wanted if value is not None]


def on_board(board_id: str) -> ColumnElement[bool]:
    """Return the condition of the pictures of the library that are on a board."""
    one = select(board_pictures.c.board_id).where(board_pictures.c.board_id == board_id)
    return one.where(_same_place()).correlate(library).exists()


def boards_of(
    connection: Connection, viewpoint: Viewpoint, places: Sequence[tuple[str, int]]
) -> Mapping[tuple[str, int], list[str]]:
    """Return the ids of the seen boards that pictures are on, newest first, by job and index."""
    one = board_pictures.c
    query = select(one.job_id, one.index, one.board_id)
    query = query.join(boards, boards.c.id == one.board_id)
    query = query.where(one.job_id.in_({job_id for job_id, _ in places}), *seen_boards(viewpoint))
    found: dict[tuple[str, int], list[str]] = {}
    for job_id, index, board_id in connection.execute(query.order_by(one.board_id.desc())):
        found.setdefault((job_id, index), []).append(board_id)
    return found


def _same_place() -> ColumnElement[bool]:
    one = board_pictures.c
    return and_(one.job_id == library.c.job_id, one.index == library.c.index)
