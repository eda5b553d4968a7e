"""Finds pictures by the words of their prompts and by their marks, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from operator import gt, lt
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    func,
    or_,
    select,
    update,
)

from cascade_core.operations.fields import ImageFormat
from serve.storage.connections import Connections
from serve.storage.library.board_store import boards_of
from serve.storage.library.changes import Change, change_marks
from serve.storage.library.entries import (
    SmallFiles,
    add_entries,
    missing_entries,
    remove_entry,
    unentered,
)
from serve.storage.library.library_item import LibraryItem
from serve.storage.library.marks import Marks
from serve.storage.library.picture_record import PictureRecord
from serve.storage.library.query import LibraryQuery
from serve.storage.library.search import search, seen
from serve.storage.lineage import Viewpoint
from serve.storage.schema.tables import images, jobs, library

_BATCH = 500

Place = tuple[str, int]
"""A picture's job and its index there, which order the library."""


class LibraryStore:
    """Searches the library; every method blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def page(
        self,
        viewpoint: Viewpoint,
        query: LibraryQuery,
        after: Place | None,
        limit: int,
        *,
        oldest_first: bool = False,
    ) -> list[LibraryItem]:
        """Return the pictures that match, newest job first, the last picture of a job first.

        Args:
            viewpoint: the owner whose pictures are seen.
            query: what they must match.
            after: the place of the last picture that is known; None: from the first on.
            limit: most pictures.
            oldest_first: in the opposite order.
        """
        with self._connections.reading() as connection:
            wanted = search(connection, viewpoint, query)
            found = (
                select(*_SHOWN)
                .select_from(wanted.source.join(images, images.c.id == library.c.image_id))
                .where(*wanted.conditions, images.c.deleted_at.is_(None))
                .order_by(*_ordered(wanted.order, oldest_first=oldest_first))
                .limit(limit)
            )
            if after is not None:
                found = found.where(_is_after(wanted.order, after, oldest_first=oldest_first))
            return _items(connection, viewpoint, found)

    def timeline(self, viewpoint: Viewpoint, query: LibraryQuery) -> list[tuple[str, int]]:
        """Return how many pictures match by day in UTC, latest day first; days without none."""
        day = library.c.day
        with self._connections.reading() as connection:
            wanted = search(connection, viewpoint, query)
            counted = select(day, func.count()).select_from(wanted.source)
            by_day = counted.where(*wanted.conditions).group_by(day).order_by(day.desc())
            return [(day, count) for day, count in connection.execute(by_day)]

    def change_marks(
        self, viewpoint: Viewpoint, image_id: str, change: Change
    ) -> LibraryItem | None:
        """Change the marks of a picture and return it; None if it was deleted."""
        shown = select(*_SHOWN).join_from(library, images, images.c.id == library.c.image_id)
        with self._connections.writing() as connection:
            add_entries(connection, unentered(connection, viewpoint, [image_id]))
            change_marks(connection, [image_id], change)
            one = shown.where(images.c.id == image_id, images.c.deleted_at.is_(None))
            return next(iter(_items(connection, viewpoint, one)), None)

    def record(self, viewpoint: Viewpoint, image_id: str) -> PictureRecord | None:
        """Return a picture with all that says how it was made; None if it is not seen."""
        is_one = library.c.image_id == image_id, images.c.deleted_at.is_(None), *seen(viewpoint)
        joined = library.join(images, images.c.id == library.c.image_id)
        shown = select(*_SHOWN).select_from(joined).where(*is_one)
        made = select(images.c.format, images.c.decoder_seed, jobs.c.request)
        made = made.select_from(joined.join(jobs, jobs.c.id == library.c.job_id)).where(*is_one)
        with self._connections.reading() as connection:
            items = _items(connection, viewpoint, shown)
            row = connection.execute(made).first()
        return PictureRecord(items[0], *row) if items and row is not None else None

    def enter_missing(self) -> int:
        """Enter all pictures that are not in the library; returns how many."""
        count, last_id = 0, ""
        while True:  # in small transactions, so that jobs can write in between
            with self._connections.reading() as connection:
                rows = missing_entries(connection, last_id, _BATCH)
            with self._connections.writing() as connection:
                add_entries(connection, rows)
            count += len(rows)
            if len(rows) < _BATCH:
                return count
            last_id = rows[-1]["id"]

    def without_small_files(self, limit: int) -> list[tuple[str, ImageFormat]]:
        """Return ids and formats of the newest pictures without thumbnails or a fingerprint.

        Those whose thumbnails cannot be made are not among them.
        """
        query = select(images.c.id, images.c.format)
        query = query.join(library, library.c.image_id == images.c.id)
        no_fingerprint = and_(library.c.fingerprint.is_(None), library.c.thumbnail_bytes > 0)
        is_missing = or_(library.c.thumbnail_bytes.is_(None), no_fingerprint)
        query = query.where(is_missing, images.c.deleted_at.is_(None))
        newest_first = library.c.job_id.desc(), library.c.index.desc()
        with self._connections.reading() as connection:
            rows = connection.execute(query.order_by(*newest_first).limit(limit)).all()
        return [(row.id, row.format) for row in rows]

    def set_small_files(self, image_id: str, small: SmallFiles) -> None:
        """Record what is known of a picture's thumbnails; their size is 0 if none can be made."""
        values = {"thumbnail_bytes": small.size_bytes, "fingerprint": small.fingerprint}
        change = update(library).where(library.c.image_id == image_id)
        with self._connections.writing() as connection:
            connection.execute(change.values(**values))

    def remove_deleted(self) -> int:
        """Remove pictures that an earlier release has deleted; returns how many."""
        deleted = select(library.c.job_id, library.c.index)
        deleted = deleted.join(images, images.c.id == library.c.image_id)
        deleted = deleted.where(images.c.deleted_at.is_not(None))
        with self._connections.writing() as connection:
            places = connection.execute(deleted).all()
            for job_id, index in places:
                remove_entry(connection, job_id, index)
        return len(places)


_SHOWN = (
    *(library.c[name] for name in ("job_id", "index", "kind", "prompt", "seed", "width", "height")),
    *(library.c[name] for name in ("star", "rating", "tags", "state")),
    *(images.c.id, images.c.latent_id, images.c.ready_at.label("created_at")),
)


def _items(connection: Connection, viewpoint: Viewpoint, query: Select[Any]) -> list[LibraryItem]:
    """Return pictures, with those of their boards that are seen."""
    rows = connection.execute(query).mappings().all()
    boards = boards_of(connection, viewpoint, [(row["job_id"], row["index"]) for row in rows])
    return [_item(row, boards.get((row["job_id"], row["index"]), ())) for row in rows]


def _item(row: RowMapping, boards: Sequence[str]) -> LibraryItem:
    shown = {name: value for name, value in row.items() if name not in Marks().columns}
    return LibraryItem(**shown, marks=Marks.of(row), boards=tuple(boards))


def _ordered(order: Any, *, oldest_first: bool) -> list[ColumnElement[Any]]:
    columns = [order.job_id, order.index]
    return columns if oldest_first else [column.desc() for column in columns]


def _is_after(order: Any, place: Place, *, oldest_first: bool) -> ColumnElement[bool]:
    """Return the condition of pictures that come after a place in the order."""
    job_id, index = place
    compare = gt if oldest_first else lt
    is_same_job = and_(order.job_id == job_id, compare(order.index, index))
    return or_(compare(order.job_id, job_id), is_same_job)
