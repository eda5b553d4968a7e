"""Pictures that clients have sent, to start images from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)

from cascade_core.errors import Conflict
from cascade_core.job_states import LIVE_STATES
from serve.storage.connections import Connections, hold_lock
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, iso_utc
from serve.storage.schema.tables import database_now, images, jobs, latents, uploads

_MB: Final = 1_000_000
_QUOTA_LOCK: Final = 0x4341_5343_0004


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRow:
    """A picture that a client has sent, stored as a PNG file without metadata.

    Attributes:
        width, height: pixels.
        size_bytes: of the file.
        content: digest of the pixels.
        expires_at: when it is deleted, unless it is used until then.
    """

    id: str
    owner: JobOwner
    width: int
    height: int
    size_bytes: int
    content: str
    created_at: datetime
    expires_at: datetime
    deleted_at: datetime | None = None

    def as_of(self, now: datetime) -> UploadRow:
        """Return the upload as it counts at a time: deleted, if its own is over."""
        if self.deleted_at is not None or now < self.expires_at:
            return self
        return replace(self, deleted_at=self.expires_at)

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form."""
        return {
            "id": self.id,
            "width": self.width,
            "height": self.height,
            "expires_at": iso_utc(self.expires_at),
        }


class UploadStore:
    """Writes and reads uploads; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, upload_id: str) -> UploadRow | None:
        """Return an upload, also a deleted one; one that has expired counts as deleted."""
        query = select(uploads).where(uploads.c.id == upload_id)
        with self._connections.reading() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            found = _upload_from(row)
            return found.as_of(database_now(connection))

    def find_equal(self, owner: JobOwner, content: str, expires_at: datetime) -> UploadRow | None:
        """Return the owner's upload of the same pixels, which is now kept at least until a time."""
        with self._connections.writing() as connection:
            row = _equal(connection, owner, content)
            if row is None:
                return None
            until = max(expires_at, row["expires_at"])
            kept = uploads.c.id == row["id"], uploads.c.deleted_at.is_(None)
            change = update(uploads).where(*kept).values(expires_at=until)
            if not connection.execute(change).rowcount:  # deleted since it was read
                return None
            return _upload_from({**row, "expires_at": until})

    def check_room(self, owner: JobOwner, content: str, size_bytes: int, quota_mb: int) -> None:
        """Check that an owner's uploads and another one fit into the quota.

        Pixels that are there already need no room.

        Args:
            owner: of the uploads.
            content: digest of the pixels.
            size_bytes: of the file.
            quota_mb: the quota.

        Raises:
            Conflict: they do not; says when the next of them expires.
        """
        with self._connections.reading() as connection:
            if _equal(connection, owner, content) is None:
                _check_quota(connection, owner, size_bytes, quota_mb)

    def add(self, upload: UploadRow, quota_mb: int) -> None:
        """Record an upload whose bytes are stored.

        Raises:
            Conflict: they do not fit into the quota, also for uploads that come at the same moment.
        """
        with self._connections.writing() as connection:
            hold_lock(connection, _QUOTA_LOCK)
            _check_quota(connection, upload.owner, upload.size_bytes, quota_mb)
            connection.execute(insert(uploads).values(**_upload_values(upload)))

    def keep(self, upload_id: str, expires_at: datetime) -> None:
        """Keep an upload that is used at least until a time."""
        change = update(uploads).where(uploads.c.id == upload_id, uploads.c.expires_at < expires_at)
        with self._connections.writing() as connection:
            connection.execute(change.values(expires_at=expires_at))

    def delete(self, upload_id: str) -> None:
        """Mark an upload deleted; deleting it again is no error."""
        change = update(uploads).where(uploads.c.id == upload_id, uploads.c.deleted_at.is_(None))
        with self._connections.writing() as connection:
            connection.execute(change.values(deleted_at=database_now(connection)))

    def delete_expired(self, now: datetime) -> int:
        """Mark those uploads deleted whose time is over and that no job needs that may go on."""
        needing = (
            select(images.c.id)
            .join(jobs, jobs.c.id == images.c.job_id)
            .where(images.c.upload_id == uploads.c.id, jobs.c.state.in_(LIVE_STATES))
        )
        with self._connections.writing() as connection:
            is_due = uploads.c.expires_at <= now, uploads.c.deleted_at.is_(None)
            change = update(uploads).where(*is_due, ~needing.exists())
            return connection.execute(change.values(deleted_at=now)).rowcount

    def dependants(self, upload_id: str, viewpoint: Viewpoint) -> tuple[list[str], list[str]]:
        """Return what was made from an upload, and from that, and so on.

        What lies between may be deleted, or of another owner: a picture that was varied from such
        a one counts.

        Args:
            upload_id: of the upload.
            viewpoint: of the caller; other pictures are left out.

        Returns:
            The ids of the images, newest first, with those that have a composition alone and those
            that are to be made; and the ids of the jobs that have not ended.
        """
        made = _made_from(upload_id)
        composition = select(latents.c.id).where(
            latents.c.job_id == images.c.job_id,
            latents.c.index == images.c.index,
            latents.c.deleted_at.is_(None),
        )
        is_there = or_(
            images.c.ready_at.is_not(None), jobs.c.state.in_(LIVE_STATES), composition.exists()
        )
        query = (
            select(images.c.id, images.c.job_id, jobs.c.state)
            .where(images.c.id.in_(select(made.c.id)))
            .join(jobs, jobs.c.id == images.c.job_id)
            .where(images.c.deleted_at.is_(None), is_there, *viewpoint.conditions)
        )
        with self._connections.reading() as connection:
            rows = connection.execute(query).all()
        open_job_ids = {row.job_id for row in rows if row.state in LIVE_STATES}
        return sorted((row.id for row in rows), reverse=True), sorted(open_job_ids)


def _made_from(upload_id: str) -> CTE:
    """Return a table of the images of an upload and of all that was made from their latents.

    An image has several latents if its composition was made anew.
    """
    own = and_(latents.c.job_id == images.c.job_id, latents.c.index == images.c.index)
    columns = select(images.c.id, latents.c.id.label("latent_id")).outerjoin(latents, own)
    made = columns.where(images.c.upload_id == upload_id).cte("made", recursive=True)
    return made.union(columns.join(made, made.c.latent_id == images.c.source_latent_id))


def _check_quota(connection: Connection, owner: JobOwner, size_bytes: int, quota_mb: int) -> None:
    kept = _kept(owner).where(uploads.c.expires_at > database_now(connection))
    others = kept.with_only_columns(
        func.coalesce(func.sum(uploads.c.size_bytes), 0), func.min(uploads.c.expires_at)
    )
    used_bytes, next_end = connection.execute(others).one()
    if used_bytes + size_bytes > quota_mb * _MB:
        rest = f", or wait until {iso_utc(next_end)}" if next_end else ""
        raise Conflict(
            f"uploads may take {quota_mb} MB; yours take {used_bytes / _MB:.1f} MB and "
            f"this one {size_bytes / _MB:.1f} MB: delete some{rest}",
            "file",
        )


def _equal(connection: Connection, owner: JobOwner, content: str) -> RowMapping | None:
    """Return the row of an owner's upload of the same pixels, if it is there."""
    is_alive = uploads.c.expires_at > database_now(connection)
    query = _kept(owner).where(uploads.c.content == content, is_alive)
    return connection.execute(query.limit(1)).mappings().first()


def _kept(owner: JobOwner) -> Select[Any]:
    """Return a query of an owner's uploads that were not deleted."""
    return select(uploads).where(*_owned(owner), uploads.c.deleted_at.is_(None))


def _owned(owner: JobOwner) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return uploads.c.owner == owner.key_id, uploads.c.user == owner.user


def _upload_values(upload: UploadRow) -> dict[str, Any]:
    names = ("id", "width", "height", "size_bytes", "content", "created_at", "expires_at")
    values = {name: getattr(upload, name) for name in names}
    return values | {"owner": upload.owner.key_id, "user": upload.owner.user}


def _upload_from(row: Any) -> UploadRow:
    columns = dict(row)
    owner = JobOwner(columns.pop("owner"), columns.pop("user"))
    return UploadRow(owner=owner, **columns)
