"""Finds stored objects that no row of the tables needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from cascade_core.job_states import LIVE_STATES
from serve.storage.blobs.blob_keys import image_of_copy, preview_image
from serve.storage.schema.tables import images, jobs, latents, uploads

Needs = dict[str, bool]
"""Whether an object is needed, by its name without the ending. Unknown names are absent."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """Objects of a folder that could be deleted.

    Attributes:
        unneeded: keys of objects whose rows are deleted or were never finished, and old previews.
        unknown: keys that belong to no row.
    """

    unneeded: list[str]
    unknown: list[str]


def find_orphans(
    connection: Connection, folder: str, keys: Iterable[str], previews_since: datetime | None
) -> Orphans:
    """Return those keys of a folder that no row needs.

    Args:
        connection: connection to the database that the store belongs to.
        folder: one of :data:`FOLDERS`.
        keys: keys that are stored in it.
        previews_since: previews of jobs that ended earlier are not needed; None: all are needed.
    """
    names = {key: image_of_copy(PurePosixPath(key).stem) for key in keys}
    needs = FOLDERS[folder](connection, sorted(set(names.values())), previews_since)
    return Orphans(
        unneeded=[key for key, name in names.items() if not needs.get(name, True)],
        unknown=[key for key, name in names.items() if name not in needs],
    )


def _images(connection: Connection, names: Sequence[str], _since: datetime | None) -> Needs:
    query = _with_job(images.c.id, images.c.ready_at, images.c.deleted_at)
    rows = connection.execute(query.where(images.c.id.in_(names)))
    return {
        row.id: row.deleted_at is None and (row.ready_at is not None or row.state in LIVE_STATES)
        for row in rows
    }


def _latents(connection: Connection, names: Sequence[str], _since: datetime | None) -> Needs:
    needs: Needs = {}
    # A job stores the bytes before the row, so the latents of an open job may have no row yet.
    planned = _with_job(images.c.latent_id).where(images.c.latent_id.in_(names))
    for row in connection.execute(planned):
        needs[row.latent_id] = needs.get(row.latent_id, False) or row.state in LIVE_STATES
    query = select(latents.c.id, latents.c.deleted_at).where(latents.c.id.in_(names))
    return needs | {row.id: row.deleted_at is None for row in connection.execute(query)}


def _uploads(connection: Connection, names: Sequence[str], _since: datetime | None) -> Needs:
    query = select(uploads.c.id, uploads.c.deleted_at).where(uploads.c.id.in_(names))
    return {row.id: row.deleted_at is None for row in connection.execute(query)}


def _handoffs(connection: Connection, names: Sequence[str], _since: datetime | None) -> Needs:
    # <job id>-<index>-<stage>
    image_of = {name: name.rpartition("-")[0] for name in names}
    rows = _images_of_jobs(connection, {image.rpartition("-")[0] for image in image_of.values()})
    needs = {f"{row.job_id}-{row.index}": row.state in LIVE_STATES for row in rows}
    return {name: needs[image] for name, image in image_of.items() if image in needs}


def _previews(connection: Connection, names: Sequence[str], since: datetime | None) -> Needs:
    image_of = {name: preview_image(name) for name in names}
    job_ids = {image.rpartition("-")[0] for image in image_of.values()}
    needs = {}
    for row in _images_of_jobs(connection, job_ids):
        is_recent = since is None or row.finished_at is None or row.finished_at >= since
        needs[f"{row.job_id}-{row.index}"] = row.deleted_at is None and is_recent
    return {name: needs[image] for name, image in image_of.items() if image in needs}


def _images_of_jobs(connection: Connection, job_ids: set[str]) -> Sequence[Row[Any]]:
    query = _with_job(images.c.job_id, images.c.index, images.c.deleted_at)
    return connection.execute(query.where(images.c.job_id.in_(sorted(job_ids)))).all()


def _with_job(*columns: Any) -> Select[Any]:
    joined = select(*columns, jobs.c.state, jobs.c.finished_at)
    return joined.join(jobs, jobs.c.id == images.c.job_id)


FOLDERS: dict[str, Callable[[Connection, Sequence[str], datetime | None], Needs]] = {
    "images": _images,
    "latents": _latents,
    "uploads": _uploads,
    "handoffs": _handoffs,
    "previews": _previews,
}
"""The folders of the blob store, see the keys in :mod:`serve.storage.blobs.blob_store`."""
