"""Which pictures were made from which: a picture names a latent, and that belongs to a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update
from ulid import ULID

from cascade_core.job_states import LIVE_STATES
from cascade_core.operations.registry import image_kind_of
from serve.storage.connections import Connections
from serve.storage.records import ImageRow, JobOwner
from serve.storage.schema.tables import images, jobs, latents

MAX_NAMED: Final = 20
"""Dependants that the answer to a deletion names; it counts all."""

HAS_OWN_LATENT: Final = or_(
    images.c.source_latent_id.is_(None), images.c.source_latent_id != images.c.latent_id
)
"""The condition of images whose latent was made for them."""

_source_latent = latents.alias("source_latent")
_source_image = images.alias("source_image")


@dataclass(frozen=True, slots=True)
class Relative:
    """A picture from which another one was made, or which was made from another one.

    Attributes:
        operation: the kind of job that makes the younger one of the two, alone.
        strength: of the job that made it.
        image_id: None if the latent became no picture.
        latent_id: the latent of this picture.
        job_id: the job that made this picture.
        is_deleted: this picture was deleted.
    """

    operation: str
    strength: float | None
    image_id: str | None
    latent_id: str
    job_id: str
    is_deleted: bool

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """The owner of the jobs that are seen; others are left out.

    Attributes:
        key_id: the API key that made the job; None: any.
        user: the end user that the job was made for; None: any.
    """

    key_id: str | None
    user: str | None

    @property
    def conditions(self) -> tuple[ColumnElement[bool], ...]:
        """The conditions of the jobs that are seen."""
        wanted = ((jobs.c.owner, self.key_id), (jobs.c.user, self.user))
        return tuple(column == value for column, value in wanted if value is not None)

    def shows(self, owner: JobOwner) -> bool:
        """Return True if the jobs of an owner are seen."""
        return self.key_id in (None, owner.key_id) and self.user in (None, owner.user)


@dataclass(frozen=True, slots=True)
class Dependants:
    """What was made from a picture, or is being made: how many pictures, and the newest of them."""

    count: int
    image_ids: tuple[str, ...]


class LineageStore:
    """Reads how pictures descend from each other; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def parents(self, image: ImageRow, viewpoint: Viewpoint) -> list[Relative]:
        """Return the picture whose latent this one was made from, also a deleted one."""
        made_by = select(jobs.c.kind, jobs.c.request).where(jobs.c.id == image.job_id)
        query = (
            select(latents.c.id, latents.c.job_id, images.c.id.label("image_id"))
            .add_columns(images.c.deleted_at)
            .join(jobs, jobs.c.id == latents.c.job_id)
            .outerjoin(images, _is_picture_of(images, latents))
            .where(latents.c.id == image.source_latent_id, *viewpoint.conditions)
        )
        with self._connections.reading() as connection:
            row = connection.execute(query).first()
            if row is None:
                return []
            kind, request = connection.execute(made_by).one()
        is_deleted = row.deleted_at is not None
        strength = request.get("strength")
        operation = image_kind_of(kind)
        return [Relative(operation, strength, row.image_id, row.id, row.job_id, is_deleted)]

    def children(
        self, image: ImageRow, viewpoint: Viewpoint, cursor: str | None, limit: int
    ) -> tuple[list[Relative], str | None]:
        """Return the pictures made from this one's latent, newest first, and the next cursor.

        Args:
            image: if it shows another picture's latent with other details, it has no children: what
                is made from that latent descends from the picture that the latent was made for.
            viewpoint: of the caller; other pictures are left out.
            cursor: of this page; None: the first.
            limit: most pictures of a page.
        """
        columns = images.c.id, images.c.latent_id, images.c.job_id, jobs.c.kind, jobs.c.request
        query = _made_from(image, viewpoint, *columns).where(images.c.ready_at.is_not(None))
        if cursor is not None:
            query = query.where(images.c.id < cursor)
        with self._connections.reading() as connection:
            rows = connection.execute(_newest(query, limit + 1)).all()
        found = [
            Relative(
                image_kind_of(kind), request.get("strength"), image_id, latent_id, job_id, False
            )
            for image_id, latent_id, job_id, kind, request in rows[:limit]
        ]
        return found, found[-1].image_id if len(rows) > limit else None

    def dependants(self, image: ImageRow, viewpoint: Viewpoint) -> Dependants:
        """Return the pictures made from this one's latent, and those that jobs are to make."""
        is_wanted = or_(images.c.ready_at.is_not(None), jobs.c.state.in_(LIVE_STATES))
        with self._connections.reading() as connection:
            newest = _made_from(image, viewpoint, images.c.id).where(is_wanted)
            ids = connection.execute(_newest(newest, MAX_NAMED)).scalars().all()
            if len(ids) < MAX_NAMED:
                return Dependants(len(ids), tuple(ids))
            counted = _made_from(image, viewpoint, func.count()).where(is_wanted)
            return Dependants(connection.execute(counted).scalar_one(), tuple(ids))

    def name_sources(self, made_after: datetime) -> int:
        """Name the latents of variations that processes of earlier releases have recorded.

        They do not know the column; while an upgrade goes on, they still accept jobs.

        Args:
            made_after: older images are not looked at. Their ids sort by time.

        Returns:
            The number of images.
        """
        first_id = str(ULID.from_datetime(made_after))
        is_unnamed = images.c.latent_use == "stored", images.c.source_latent_id.is_(None)
        change = update(images).where(images.c.id >= first_id, *is_unnamed)
        with self._connections.writing() as connection:
            return connection.execute(change.values(source_latent_id=images.c.latent_id)).rowcount


def select_images() -> Select[Any]:
    """Return a query of the columns of :class:`ImageRow`."""
    return (
        select(images, _source_image.c.id.label("source_image_id"))
        .outerjoin(_source_latent, _source_latent.c.id == images.c.source_latent_id)
        .outerjoin(_source_image, _is_picture_of(_source_image, _source_latent))
    )


def is_latent_needed(connection: Connection, latent_id: str, but_for_image: str) -> bool:
    """Return True if a job is still to start from a latent, or another image has it.

    The image that the latent was made for has it from the start, also while it is a composition
    alone.
    """
    is_there = images.c.latent_id == latent_id, images.c.deleted_at.is_(None), HAS_OWN_LATENT
    for condition in (*needs(latent_id), and_(*is_there)):
        query = select(images.c.id).join(jobs, jobs.c.id == images.c.job_id)
        query = query.where(condition, images.c.id != but_for_image)
        if connection.execute(query.limit(1)).first() is not None:
            return True
    return False


def needs(latent_id: Any) -> Sequence[ColumnElement[bool]]:
    """Return the conditions of images, joined with their jobs, that need a latent.

    A picture needs the latent that it shows. An image that a job is still to make needs that, and
    the one that it is made from.
    """
    is_planned = and_(images.c.ready_at.is_(None), jobs.c.state.in_(LIVE_STATES))
    is_there = and_(images.c.ready_at.is_not(None), images.c.deleted_at.is_(None))
    return (
        and_(images.c.latent_id == latent_id, or_(is_there, is_planned)),
        and_(images.c.source_latent_id == latent_id, is_planned),
    )


def _made_from(image: ImageRow, viewpoint: Viewpoint, *columns: Any) -> Select[Any]:
    """Return the query of the images that are there and start from an image's own latent."""
    own_latent_id = image.latent_id if image.latent_id != image.source_latent_id else None
    return (
        select(*columns)
        .select_from(images)
        .join(jobs, jobs.c.id == images.c.job_id)
        .where(images.c.source_latent_id == (own_latent_id or ""), images.c.deleted_at.is_(None))
        .where(*viewpoint.conditions)
    )


def _newest(query: Select[Any], limit: int) -> Select[Any]:
    return query.order_by(images.c.id.desc()).limit(limit)


def _is_picture_of(image: Any, latent: Any) -> ColumnElement[bool]:
    """Return the condition of the finished image that a latent was made for."""
    return and_(
        image.c.job_id == latent.c.job_id,
        image.c.index == latent.c.index,
        image.c.latent_id == latent.c.id,  # and not one that was replaced
        image.c.ready_at.is_not(None),
    )
