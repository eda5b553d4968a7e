"""Moves jobs, images and latents between databases and stores, by an archive.

An archive begins with ``cascade.json`` (its format). Then, for each ended job, come the bytes of
its images and latents, each as ``jobs/<job id>/<key in the blob store>``, and after them
``jobs/<job id>/rows.json``. Ids are kept, so links, variations and the ids in picture files stay
true.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, insert, select

from cascade_core.errors import InvalidRequest, NotFound
from serve.archive import Write
from serve.db import Database
from serve.records import TERMINAL_STATES, utc_now
from serve.rows import last_event_data, load_jobs
from serve.store import BlobStore, image_key, latent_key
from serve.tables import UtcDateTime, events, images, jobs, latents, lock_events

FORMAT = 1
_ABOUT = "cascade.json"
_TABLES = {"job": jobs, "images": images, "latents": latents}
_NOT_MOVED = {"idempotency_key", "body_digest", "deaths", "context"}
"""What matters only where the request was made: what tells a repeated one from a new one, what
happened to replicas, and where its log and trace are."""
_PAGE = 100
_ID = r"[A-Za-z0-9_-]{1,64}"
_BLOB_NAME = re.compile(rf"jobs/{_ID}/(?P<key>(images|latents)/{_ID}\.[a-z]{{1,8}})")
_ROWS_NAME = re.compile(rf"jobs/{_ID}/rows\.json")

Rows = dict[str, list[dict[str, Any]]]
"""The rows of one job, by the keys of ``_TABLES``."""


@dataclass(slots=True)
class Moved:
    """What an export wrote or an import added.

    Attributes:
        jobs, files: how many.
        size_bytes: of the files.
        missing: keys that the database names and the store does not have.
    """

    jobs: int = 0
    files: int = 0
    size_bytes: int = 0
    missing: list[str] = field(default_factory=list)


async def export_jobs(database: Database, blobs: BlobStore, write: Write) -> Moved:
    """Write all ended jobs with their images and latents; those that were deleted as rows only.

    Raises:
        NotReady: the database or the blob store does not answer.
    """
    moved = Moved()
    write(_ABOUT, _to_json({"format": FORMAT}))
    for rows in _ended_jobs(database):
        folder = f"jobs/{rows['job'][0]['id']}"
        for key in _keys(rows):
            try:
                data = await blobs.get(key)
            except NotFound:
                moved.missing.append(key)
                continue
            write(f"{folder}/{key}", data)
            moved.files += 1
            moved.size_bytes += len(data)
        write(f"{folder}/rows.json", _to_json(rows))
        moved.jobs += 1
    return moved


async def import_jobs(
    database: Database, blobs: BlobStore, entries: Iterable[tuple[str, bytes]]
) -> Moved:
    """Add what an archive holds and is not there yet; what is there stays as it is.

    Raises:
        InvalidRequest: no archive of ours, or one of a later release.
        NotReady: the database or the blob store does not answer.
    """
    moved = Moved()
    is_ours = False
    for name, data in entries:
        if name == _ABOUT:
            _check_format(data)
            is_ours = True
        elif not is_ours:
            break
        elif _ROWS_NAME.fullmatch(name):
            moved.jobs += _insert(database, _from_json(name, data))
        elif (blob := _BLOB_NAME.fullmatch(name)) and not await blobs.exists(blob["key"]):
            await blobs.put(blob["key"], data)
            moved.files += 1
            moved.size_bytes += len(data)
    if not is_ours:
        raise InvalidRequest(f"this is no archive of cascade: it does not begin with {_ABOUT}")
    return moved


def _ended_jobs(database: Database) -> Iterator[Rows]:
    last_id = ""
    while True:
        ended = select(jobs.c.id).where(jobs.c.state.in_(TERMINAL_STATES), jobs.c.id > last_id)
        with database.reading() as connection:
            ids = connection.execute(ended.order_by(jobs.c.id).limit(_PAGE)).scalars().all()
            page = [_rows_of(connection, job_id) for job_id in ids]
        yield from page
        if len(ids) < _PAGE:
            return
        last_id = ids[-1]


def _rows_of(connection: Connection, job_id: str) -> Rows:
    rows = {}
    for name, table in _TABLES.items():
        column = table.c.id if table is jobs else table.c.job_id
        query = select(table).where(column == job_id).order_by(table.c.id)
        rows[name] = [_plain(row) for row in connection.execute(query).mappings()]
    return rows


def _keys(rows: Rows) -> list[str]:
    """Return where the bytes of all that was not deleted are."""
    pictures = [row for row in rows["images"] if row["ready_at"] and not row["deleted_at"]]
    kept = [row for row in rows["latents"] if not row["deleted_at"]]
    keys = [image_key(row["id"], row["format"]) for row in pictures]
    return keys + [latent_key(row["id"]) for row in kept]


def _insert(database: Database, rows: Rows) -> int:
    """Insert the rows whose ids are not there yet; returns how many jobs that are."""
    with database.writing() as connection:
        for name in ("images", "latents"):
            _insert_new(connection, _TABLES[name], rows[name])
        added = _insert_new(connection, jobs, rows["job"])
        for row in added:
            # The event that ends a stream; the others were about a time that is over.
            query = select(jobs).where(jobs.c.id == row["id"])
            job = load_jobs(connection, list(connection.execute(query).mappings()))[0]
            last = {"job_id": job.id, "type": job.state, "data": last_event_data(job)}
            lock_events(connection)
            connection.execute(insert(events).values(**last, at=utc_now()))
    return len(added)


def _insert_new(
    connection: Connection, table: Table, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    query = select(table.c.id).where(table.c.id.in_([row["id"] for row in rows]))
    known = set(connection.execute(query).scalars())
    new = [row for row in rows if row["id"] not in known]
    if new:
        connection.execute(insert(table), new)
    return new


def _plain(row: RowMapping) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
        if name not in _NOT_MOVED
    }


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Turn the texts of times into times; an unknown column is a KeyError."""
    times = {name for name in row if isinstance(table.c[name].type, UtcDateTime)}
    return {
        name: datetime.fromisoformat(value) if name in times and value else value
        for name, value in row.items()
    }


def _to_json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, indent=1).encode()


def _from_json(name: str, data: bytes) -> Rows:
    try:
        body = json.loads(data)
        return {kind: [_typed(table, row) for row in body[kind]] for kind, table in _TABLES.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"{name} in the archive is damaged or of a later release") from error


def _check_format(data: bytes) -> None:
    try:
        found = json.loads(data)["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{_ABOUT} in the archive is damaged") from error
    if found != FORMAT:
        raise InvalidRequest(f"the archive has format {found}, this release reads {FORMAT}")
