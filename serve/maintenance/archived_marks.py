"""The marks of pictures in an archive: written for the pictures that have some, and put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, or_, select

from serve.storage.library.changes import change_marks
from serve.storage.library.entries import enter
from serve.storage.library.marks import MAX_RATING, Marks, tags_of
from serve.storage.schema.tables import library

MarkRow = dict[str, Any]
"""The id of a picture, its ``star``, ``rating`` and ``tags``."""


def marks_of_job(connection: Connection, job_id: str) -> list[MarkRow]:
    """Return the marks of a job's pictures, of those that have some."""
    has_some = or_(library.c.star != 0, library.c.rating != 0, library.c.tags.is_not(None))
    query = select(library).where(library.c.job_id == job_id, has_some).order_by(library.c.index)
    rows = connection.execute(query).mappings()
    return [{"id": row["image_id"], **Marks.of(row).to_json()} for row in rows]


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
            row.keys() == {"id", "star", "rating", "tags"}
            and row["id"] in ids
            and type(row["star"]) is bool
            and type(row["rating"]) is int
            and 0 <= row["rating"] <= MAX_RATING
            and tags_of(row["tags"]) == tuple(row["tags"])
        )
        if not is_sound:
            raise ValueError("marks")
    return list(stored or [])


def put_back(connection: Connection, rows: Sequence[MarkRow]) -> None:
    """Mark pictures of a job that this transaction has inserted."""
    enter(connection, [row["id"] for row in rows])
    marks = {row["id"]: Marks(row["star"], row["rating"], tuple(row["tags"])) for row in rows}
    for image_id, noted in marks.items():
        change_marks(connection, [image_id], partial(_replaced, noted))


def _replaced(noted: Marks, _before: Marks) -> Marks:
    return noted
