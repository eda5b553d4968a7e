"""What is noted of pictures in an archive, and their boards: written, read and put back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, select

from serve.maintenance.archive_checks import ID
from serve.maintenance.archived_boards import put_on_boards
from serve.storage.library.board_store import boards_of
from serve.storage.library.changes import change_marks
from serve.storage.library.entries import add_entries, unentered
from serve.storage.library.marks import MAX_RATING, Marks, tags_of
from serve.storage.lineage import Viewpoint
from serve.storage.schema.tables import library

_ALL = Viewpoint(None, None)

MarkRow = dict[str, Any]
"""The id of a picture, its ``star``, ``rating`` and ``tags``, and the ids of its ``boards``."""


def marks_of_job(connection: Connection, job_id: str) -> list[MarkRow]:
    """Return the marks and boards of a job's pictures, of those that have some."""
    names = ("image_id", "index", "star", "rating", "tags", "state")
    query = select(*(library.c[name] for name in names)).where(library.c.job_id == job_id)
    boards = boards_of(connection, _ALL, [(job_id, 0)])
    noted = []
    for row in connection.execute(query.order_by(library.c.index)).mappings():
        marks = replace(Marks.of(row), state="")  # the archive's entry of assets has it
        on_boards = boards.get((job_id, row["index"]), [])
        if marks != Marks() or on_boards:
            noted.append({"id": row["image_id"], **marks.to_json(), "boards": on_boards})
    return noted


def checked_marks(stored: Any, pictures: Sequence[Mapping[str, Any]]) -> list[MarkRow]:
    """Return the marks in an archive.

    Args:
        stored: what :func:`marks_of_job` returned; None in archives of earlier releases.
        pictures: rows of the pictures of the job.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are no marks of these pictures.
    """
    ids = {row["id"] for row in pictures}
    for row in stored or []:
        is_sound = (
            row.keys() == {"id", "star", "rating", "tags", "boards"}
            and row["id"] in ids
            and type(row["star"]) is bool
            and type(row["rating"]) is int
            and 0 <= row["rating"] <= MAX_RATING
            and tags_of(row["tags"]) == tuple(row["tags"])
            and all(re.fullmatch(ID, board_id) for board_id in row["boards"])
        )
        if not is_sound:
            raise ValueError("marks")
    return list(stored or [])


def put_back(connection: Connection, rows: Sequence[MarkRow]) -> None:
    """Mark pictures of a job that this transaction has inserted, and put them on their boards."""
    ids = [row["id"] for row in rows]
    add_entries(connection, unentered(connection, _ALL, ids))
    marks = {row["id"]: Marks(row["star"], row["rating"], tuple(row["tags"])) for row in rows}
    for image_id, noted in marks.items():
        change_marks(connection, [image_id], partial(_replaced, noted))
    put_on_boards(connection, {row["id"]: row["boards"] for row in rows})


def _replaced(noted: Marks, before: Marks) -> Marks:
    return replace(noted, state=before.state)
