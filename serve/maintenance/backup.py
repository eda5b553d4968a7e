"""Exports jobs, images and latents to an archive, and imports them from one.

The first entry of an archive is ``cascade.json``, which states the format; ``cascade_boards.json``
and ``cascade_comparisons.json`` follow, and the audit log in ``cascade_audit_000001.json`` and
further ones. For each ended job, the next entries are the bytes of its images and latents, and of
the previews of its compositions, named ``jobs/<job id>/<key in the blob store>``, followed by
``jobs/<job id>/rows.json``. Ids are kept, so links, variations and the ids in picture files stay
valid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, cast

from sqlalchemy import (
    Connection,
    Table,
    insert,
    select,
)

from cascade_core.errors import CascadeError, InvalidRequest, NotFound, Unsupported
from cascade_core.images.image_files import check_image
from cascade_core.job_states import TERMINAL_STATES
from cascade_core.operations.fields import ImageFormat
from cascade_core.request import GenerationRequest
from serve.maintenance.archive import Write
from serve.maintenance.archive_checks import FORMATS, ID, Rows, check_rows
from serve.maintenance.archive_rows import from_archive, to_archive
from serve.maintenance.archived_assets import assets_of_job, checked_assets, insert_assets
from serve.maintenance.archived_audit import audit_pages, events_from, insert_events
from serve.maintenance.archived_boards import all_boards, boards_from, insert_boards
from serve.maintenance.archived_comparisons import (
    all_comparisons,
    comparisons_from,
    insert_comparisons,
)
from serve.maintenance.archived_marks import checked_marks, marks_of_job, put_back
from serve.served_models import Models
from serve.storage.blobs.blob_keys import image_key, latent_key, preview_key_from_name
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.events import append_event
from serve.storage.job_queries import load_resting_job
from serve.storage.job_store import last_event_data
from serve.storage.schema.tables import images, jobs, latents

FORMAT = 1
_FORMAT_ENTRY = "cascade.json"
_BOARDS_ENTRY = "cascade_boards.json"  # after the other one also in the order of names
_COMPARISONS_ENTRY = "cascade_comparisons.json"
_TABLES = {"job": jobs, "images": images, "latents": latents}
_MARKS = "marks"
"""Beside the tables: what is noted of the pictures, left out where nothing is."""
_AUDIT_ENTRY = "cascade_audit_{:06}.json"
_AUDIT_NAME = re.compile(r"cascade_audit_\d{6}\.json")
_PAGE = 100
_BLOB_NAME = re.compile(
    rf"jobs/(?P<job_id>{ID})/(?P<key>images/{ID}\.(?P<format>{'|'.join(FORMATS)})"
    rf"|latents/{ID}\.msgpack"
    r"|previews/(?P=job_id)-\d{1,3}-[a-z][a-z0-9]*(?:-\d{1,4}){1,2}\.(?P<preview>webp))"
)
_TABLE_ENTRIES: Mapping[str, tuple[Callable[[bytes], Any], Callable[[Connection, Any], None]]] = {
    _BOARDS_ENTRY: (boards_from, insert_boards),
    _COMPARISONS_ENTRY: (comparisons_from, insert_comparisons),
}
_ROWS_NAME = re.compile(rf"jobs/(?P<job_id>{ID})/rows\.json")

_DAMAGE = (
    CascadeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


@dataclass(slots=True)
class BackupReport:
    """What an export wrote or an import added.

    Attributes:
        jobs, files: number of jobs and of files.
        known_jobs: number of archived jobs that the database held before.
        size_bytes: total size of the files.
        missing: keys that the database records but the store does not hold.
        apart: chains of the audit log that went another way here; their events in the archive
            were left out from there on.
    """

    jobs: int = 0
    files: int = 0
    known_jobs: int = 0
    size_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    apart: set[str] = field(default_factory=set)


async def export_jobs(database: Database, blobs: BlobStore, write: Write) -> BackupReport:
    """Write all ended jobs with their images and latents; of deleted ones only the rows.

    Raises:
        NotReady: the database or the blob store does not answer.
    """
    moved = BackupReport()
    write(_FORMAT_ENTRY, _to_json({"format": FORMAT}))
    with database.reading() as connection:
        write(_BOARDS_ENTRY, _to_json(all_boards(connection)))
        write(_COMPARISONS_ENTRY, _to_json(all_comparisons(connection)))
    for number, events in enumerate(audit_pages(database), 1):
        write(_AUDIT_ENTRY.format(number), _to_json(events))
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
    database: Database, blobs: BlobStore, models: Models, entries: Iterable[tuple[str, bytes]]
) -> BackupReport:
    """Add the jobs and files of an archive that are missing here; existing ones do not change.

    Args:
        database: to which the jobs are added.
        blobs: to which the files are added.
        models: that are served; their stages tell the work and route of the jobs.
        entries: names and bytes of the archive's entries, in order.

    Raises:
        InvalidRequest: this is not an archive of this service, or it is from a later release.
        NotReady: the database or the blob store does not answer.
    """
    moved = BackupReport()
    is_ours = False
    for name, data in entries:
        blob, rows = _BLOB_NAME.fullmatch(name), _ROWS_NAME.fullmatch(name)
        if name == _FORMAT_ENTRY:
            _check_format(data)
            is_ours = True
        elif is_entry(name) and not is_ours:
            break
        elif name in _TABLE_ENTRIES:
            _insert_entry(database, name, data)
        elif _AUDIT_NAME.fullmatch(name):
            moved.apart |= _insert_events(database, name, data)
        elif rows:
            if _insert(database, _from_json(name, rows["job_id"], data, models), name):
                moved.jobs += 1
            else:
                moved.known_jobs += 1
        elif blob and not await blobs.exists(blob["key"]):
            if _is_copy(database, blob["key"]):
                continue
            _check_blob(name, blob["format"] or blob["preview"], data)
            await blobs.put(blob["key"], data)
            moved.files += 1
            moved.size_bytes += len(data)
    if not is_ours:
        raise InvalidRequest(
            f"this is not an archive of cascade: it does not begin with {_FORMAT_ENTRY}"
        )
    await database.run(database.library.enter_missing)
    return moved


def is_entry(name: str) -> bool:
    """Return True if a name is one of an archive's entries."""
    is_file = any(one.fullmatch(name) for one in (_BLOB_NAME, _ROWS_NAME, _AUDIT_NAME))
    return name == _FORMAT_ENTRY or name in _TABLE_ENTRIES or is_file


def _insert_entry(database: Database, name: str, data: bytes) -> None:
    """Insert the rows of an entry that holds whole tables."""
    rows_from, insert_rows = _TABLE_ENTRIES[name]
    try:
        rows = rows_from(data)
    except _DAMAGE as error:
        raise _damaged(name) from error
    with database.writing() as connection:
        insert_rows(connection, rows)


def _insert_events(database: Database, name: str, data: bytes) -> set[str]:
    try:
        events = events_from(data)
    except _DAMAGE as error:
        raise _damaged(name) from error
    with database.writing() as connection:
        return insert_events(connection, events)


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
    rows: Rows = {}
    for name, table in _TABLES.items():
        column = table.c.id if table is jobs else table.c.job_id
        query = select(table).where(column == job_id).order_by(table.c.id)
        rows[name] = [to_archive(row) for row in connection.execute(query).mappings()]
    if marks := marks_of_job(connection, job_id):
        rows[_MARKS] = marks
    return rows | assets_of_job(connection, job_id)


def _keys(rows: Rows) -> list[str]:
    """Return the keys of all images, latents and compositions' previews that were not deleted."""
    shown = [row for row in rows["images"] if not row["deleted_at"]]
    pictures = [row for row in shown if row["ready_at"]]
    kept = [row for row in rows["latents"] if not row["deleted_at"]]
    keys = [image_key(row["id"], row["format"]) for row in pictures]
    keys += [latent_key(row["id"]) for row in kept]
    (job,) = rows["job"]
    indices = {row["index"] for row in shown}
    replaced = [values for redo in job["redos"] or () for values in redo["replaced"]]
    drawn = [*shown, *(values for values in replaced if values["index"] in indices)]
    previews = [row["preview"] for row in drawn if row["preview"] is not None]
    return keys + [preview_key_from_name(job["id"], preview) for preview in previews]


def _insert(database: Database, rows: Rows, name: str) -> bool:
    """Insert a job with its rows; False if the database already has the job."""
    (job_row,) = rows["job"]
    with database.writing() as connection:
        known = select(jobs.c.id).where(jobs.c.id == job_row["id"])
        if connection.execute(known).first():
            return False
        _check_latents(connection, rows, name)
        for kind in ("images", "latents"):
            _insert_new(connection, _TABLES[kind], rows[kind])
        connection.execute(insert(jobs), rows["job"])
        # Only the last event, which ends a stream; earlier events are not archived.
        job = load_resting_job(connection, job_row["id"])
        append_event(connection, job.id, job.state, last_event_data(job))
        insert_assets(connection, rows)  # before the library, which takes their states
        if rows[_MARKS]:
            put_back(connection, rows[_MARKS])
    return True


def _check_latents(connection: Connection, rows: Rows, name: str) -> None:
    """Refuse a picture that names another job's latent and is not a variation of it."""
    (job,) = rows["job"]
    claimed = {row["latent_id"] for row in rows["images"]} - {job["request"].get("latent_id")}
    query = select(latents.c.id).where(latents.c.id.in_(claimed), latents.c.job_id != job["id"])
    if connection.execute(query).first():
        raise _damaged(name)


def _insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    query = select(table.c.id).where(table.c.id.in_([row["id"] for row in rows]))
    known = set(connection.execute(query).scalars())
    if new := [row for row in rows if row["id"] not in known]:
        connection.execute(insert(table), new)


def _to_json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, indent=1).encode()


def _from_json(name: str, job_id: str, data: bytes, models: Models) -> Rows:
    try:
        body = json.loads(data)
        # An API answer cannot hold NaN, 1e999 or half a surrogate pair.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        rows = {
            kind: [from_archive(table, row) for row in body[kind]]
            for kind, table in _TABLES.items()
        }
        rows[_MARKS] = checked_marks(body.get(_MARKS), rows["images"])
        check_rows(rows, job_id)
        rows |= checked_assets(body, rows["images"])
        _plan(rows, models)
    except _DAMAGE as error:
        raise _damaged(name) from error
    return rows


def _plan(rows: Rows, models: Models) -> None:
    """Fill in what the request tells: work, on which estimates of new jobs rest, route, sources.

    Work and route of a job whose model is not served here, or cannot do it any longer, are unknown.
    """
    (job,) = rows["job"]
    request = GenerationRequest.from_dict(job["request"])
    job["model"] = request.model
    try:
        route = models.route(request)
    except (NotFound, Unsupported, InvalidRequest):  # stages of another family, too
        job["work"], route = 0.0, ()
    if job["work"]:  # a job that stopped, and was continued, has times of its last part alone
        job["work"] = 0.0 if request.stop_after else models.of(request).family.work(request)
    job["route"] = [stage.key for stage in route]
    for image in rows["images"]:
        image["source_latent_id"] = request.source_latent_id(image["index"])
        image["upload_id"] = request.upload_id


def _is_copy(database: Database, key: str) -> bool:
    """Return True if a picture is stored in another format here; its copies are made from that."""
    path = PurePosixPath(key)
    query = select(images.c.format).where(images.c.id == path.stem)
    with database.reading() as connection:
        image_format = connection.execute(query).scalar()
    return path.parts[0] == "images" and image_format not in (None, path.suffix.removeprefix("."))


def _check_blob(name: str, image_format: str | None, data: bytes) -> None:
    """Refuse a picture whose format is not that of its name; latents are checked when used."""
    if image_format:
        try:
            check_image(data, cast(ImageFormat, image_format))
        except InvalidRequest as error:
            raise InvalidRequest(f"{name} in the archive: {error.message}") from error


def _damaged(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name} in the archive is damaged or from a later release")


def _check_format(data: bytes) -> None:
    try:
        found = json.loads(data)["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{_FORMAT_ENTRY} in the archive is damaged") from error
    if found != FORMAT:
        raise InvalidRequest(f"the archive has format {found}, this release reads {FORMAT}")
