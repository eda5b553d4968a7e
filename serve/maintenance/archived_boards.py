"""The boards in an archive, one entry; which pictures are on them stands with their jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from cascade_core.printable import is_printable
from serve.maintenance.archive_checks import ID
from serve.maintenance.archive_rows import from_archive, to_archive
from serve.storage.schema.tables import board_pictures, boards, insert_new, library


def all_boards(connection: Connection) -> list[dict[str, Any]]:
    """Return all boards as rows of an archive."""
    rows = connection.execute(select(boards).order_by(boards.c.id)).mappings()
    return [to_archive(row) for row in rows]


def boards_from(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of boards of an archive.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are no boards.
    """
    rows = [from_archive(boards, row) for row in json.loads(data)]
    for row in rows:
        is_title = is_printable(row["title"]) and row["title"]
        if not is_title or not re.fullmatch(ID, row["id"]) or row.keys() != set(boards.c.keys()):
            raise ValueError("boards")
    return rows


def insert_boards(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert boards; those that are there already stay as they are."""
    insert_new(connection, boards, rows)


def put_on_boards(connection: Connection, board_ids: Mapping[str, Sequence[str]]) -> None:
    """Put pictures of the library on boards.

    Args:
        connection: of the transaction.
        board_ids: by the ids of the pictures; boards that are not there are left out.
    """
    ids = sorted({board_id for each in board_ids.values() for board_id in each})
    known = set(connection.execute(select(boards.c.id).where(boards.c.id.in_(ids))).scalars())
    of_pictures = select(library).where(library.c.image_id.in_(sorted(board_ids)))
    rows = [
        {"board_id": board_id, "job_id": row["job_id"], "index": row["index"]}
        for row in connection.execute(of_pictures).mappings()
        for board_id in board_ids[row["image_id"]]
        if board_id in known
    ]
    insert_new(connection, board_pictures, rows)
