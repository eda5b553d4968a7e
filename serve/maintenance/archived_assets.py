"""States of pictures and comments on them in an archive: written, read and put back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from cascade_core.printable import is_printable
from serve.maintenance.archive_checks import ID
from serve.maintenance.archive_rows import from_archive, to_archive
from serve.storage.schema.asset_states import STATES
from serve.storage.schema.asset_tables import asset_comments, assets
from serve.storage.schema.tables import images, insert_new

_TABLES: Mapping[str, Table] = {"assets": assets, "comments": asset_comments}
_SHA256 = "[0-9a-f]{64}"

AssetRows = dict[str, list[dict[str, Any]]]
"""Rows of the tables of assets and of comments."""


def assets_of_job(connection: Connection, job_id: str) -> AssetRows:
    """Return the states of a job's pictures, and the comments on them, where there are some."""
    pictures = select(images.c.id).where(images.c.job_id == job_id, images.c.deleted_at.is_(None))
    found: AssetRows = {}
    for name, table in _TABLES.items():
        query = select(table).where(table.c.image_id.in_(pictures)).order_by(*table.primary_key)
        if rows := [to_archive(row) for row in connection.execute(query).mappings()]:
            found[name] = rows
    return found


def checked_assets(stored: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]]) -> AssetRows:
    """Return the states and comments in an archive.

    Args:
        stored: the rows of a job in an archive; those of earlier releases have neither.
        pictures: rows of the pictures of the job.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are none of these pictures.
    """
    rows = {
        name: [from_archive(table, row) for row in stored.get(name, [])]
        for name, table in _TABLES.items()
    }
    shown = {row["id"] for row in pictures if row["ready_at"] and not row["deleted_at"]}
    for name, table in _TABLES.items():
        for row in rows[name]:
            if row.keys() != set(table.c.keys()) or row["image_id"] not in shown:
                raise ValueError(name)
    if not all(map(_is_asset, rows["assets"])) or not all(map(_is_comment, rows["comments"])):
        raise ValueError("assets")
    return rows


def insert_assets(connection: Connection, rows: AssetRows) -> None:
    """Insert states and comments of a job's pictures that this transaction has inserted."""
    for name, table in _TABLES.items():
        insert_new(connection, table, rows[name])


def _is_asset(row: Mapping[str, Any]) -> bool:
    people = [row[name] for name in ("submitted_by", "decided_by") if row[name] is not None]
    return (
        row["state"] in STATES
        and row["version"] > 0
        and re.fullmatch(_SHA256, row["sha256"]) is not None
        and all(map(_is_actor, people))
    )


def _is_comment(row: Mapping[str, Any]) -> bool:
    place = row["x"], row["y"]
    is_place = place == (None, None) or all(one is not None and one <= 1 for one in place)
    return bool(re.fullmatch(ID, row["id"])) and _is_actor(row["author"]) and is_place


def _is_actor(stored: Any) -> bool:
    names = {name: stored[name] for name in ("key_id", "key", "user")}
    known = [name for name in names.values() if name is not None]
    return stored == names and names["key"] is not None and all(map(is_printable, known))
