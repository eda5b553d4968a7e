"""The comparisons in an archive, one entry with the votes; their jobs stand by themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from cascade_core.comparison_jobs import job_id
from cascade_core.operations.fields import MAX_IMAGES, MIN_IMAGES
from serve.maintenance.archive_checks import ID
from serve.maintenance.archive_rows import from_archive, to_archive
from serve.storage.comparisons.comparison import CHOICES, MAX_ENTRIES
from serve.storage.schema.tables import comparison_votes, comparisons, insert_new

_TABLES: Mapping[str, Table] = {"comparisons": comparisons, "votes": comparison_votes}
_REQUEST = {"prompt": str, "seed": int, "n": int, "settings": list, "models": list}
_ARCHIVED = {"id", "owner", "user", "created_at", "request"}

Rows = Mapping[str, Sequence[dict[str, Any]]]


def all_comparisons(connection: Connection) -> Rows:
    """Return all comparisons and votes as rows of an archive."""
    return {
        name: [to_archive(row) for row in connection.execute(select(table)).mappings()]
        for name, table in _TABLES.items()
    }


def comparisons_from(data: bytes) -> Rows:
    """Return the rows of comparisons and votes of an archive.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are none.
    """
    body = json.loads(data)
    json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    rows = {
        name: [from_archive(table, row) for row in body[name]] for name, table in _TABLES.items()
    }
    for row in rows["comparisons"]:
        job_id(row["id"], 0)  # the ids of its jobs follow from a ULID
        is_named = re.fullmatch(ID, row["id"]) and row.keys() == _ARCHIVED
        if not is_named or not _is_request(row["request"]):
            raise ValueError("comparisons")
    for row in rows["votes"]:
        if row["vote"] not in CHOICES or row.keys() != set(comparison_votes.c.keys()):
            raise ValueError("votes")
    return rows


def insert_comparisons(connection: Connection, rows: Rows) -> None:
    """Insert comparisons and votes; those that are there already stay as they are."""
    for name, table in _TABLES.items():
        insert_new(connection, table, rows[name])


def _is_request(request: Mapping[str, Any]) -> bool:
    are_values = all(type(request[name]) is wanted for name, wanted in _REQUEST.items())
    settings = request["settings"]
    return (
        are_values
        and request.keys() == _REQUEST.keys()
        and 1 <= len(settings) <= MAX_ENTRIES
        and all(isinstance(one, dict) for one in settings)
        and len(request["models"]) == len(settings)
        and all(isinstance(name, str) for name in request["models"])
        and MIN_IMAGES <= request["n"] <= MAX_IMAGES
    )
