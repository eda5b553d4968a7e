"""Comments on assets, of which some point at a place in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, delete, func, insert, select, update
from ulid import ULID

from cascade_core.errors import Conflict, Gone
from serve.storage.assets.asset import Actor
from serve.storage.connections import Connections
from serve.storage.records import iso_utc, utc_now
from serve.storage.schema.asset_tables import asset_comments
from serve.storage.schema.tables import images

MAX_COMMENTS: Final = 500
"""Of one asset."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment.

    Attributes:
        x, y: the place it points at, from the left and from the top, as parts of the picture's
            sides; both None: the whole picture.
    """

    id: str
    image_id: str
    author: Actor
    text: str
    x: float | None
    y: float | None
    is_resolved: bool
    created_at: datetime

    def to_json(self, reader: Actor) -> dict[str, Any]:
        """Return its HTTP form for a reader."""
        return {
            "id": self.id,
            "author": self.author.to_json(),
            "text": self.text,
            "x": self.x,
            "y": self.y,
            "resolved": self.is_resolved,
            "created_at": iso_utc(self.created_at),
            "mine": self.author.is_same(reader),
        }


class CommentStore:
    """Adds, lists and removes comments; every method is one transaction and blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of_asset(self, image_id: str) -> list[Comment]:
        """Return the comments on an asset, oldest first."""
        query = select(asset_comments).where(asset_comments.c.image_id == image_id)
        with self._connections.reading() as connection:
            rows = connection.execute(query.order_by(asset_comments.c.id)).mappings()
            return [_comment(row) for row in rows]

    def get(self, image_id: str, comment_id: str) -> Comment | None:
        """Return a comment on an asset; None if there is none."""
        query = select(asset_comments).where(*_is_one(image_id, comment_id))
        with self._connections.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _comment(row)

    def add(
        self, image_id: str, author: Actor, text: str, point: tuple[float, float] | None
    ) -> Comment:
        """Comment on an asset.

        Raises:
            Conflict: it has as many comments as it may have.
            Gone: its picture was deleted.
        """
        x, y = point or (None, None)
        comment = Comment(str(ULID()), image_id, author, text, x, y, False, utc_now())
        of_asset = asset_comments.c.image_id == image_id
        counted = select(func.count()).select_from(asset_comments).where(of_asset)
        locked = select(images.c.deleted_at).where(images.c.id == image_id).with_for_update()
        names = ("id", "image_id", "text", "x", "y", "is_resolved", "created_at")
        values = {name: getattr(comment, name) for name in names}
        with self._connections.writing() as connection:
            if connection.execute(locked).scalar() is not None:
                raise Gone("this image was deleted")
            if connection.execute(counted).scalar_one() >= MAX_COMMENTS:
                raise Conflict(f"there are {MAX_COMMENTS} comments already")
            row = values | {"author": author.to_stored()}
            connection.execute(insert(asset_comments).values(row))
        return comment

    def resolve(self, image_id: str, comment_id: str, *, is_resolved: bool) -> None:
        """Mark a comment as dealt with, or not."""
        change = update(asset_comments).where(*_is_one(image_id, comment_id))
        with self._connections.writing() as connection:
            connection.execute(change.values(is_resolved=is_resolved))

    def remove(self, image_id: str, comment_id: str) -> None:
        """Remove a comment; a missing one is no error."""
        with self._connections.writing() as connection:
            connection.execute(delete(asset_comments).where(*_is_one(image_id, comment_id)))


def _is_one(image_id: str, comment_id: str) -> tuple[Any, ...]:
    return asset_comments.c.id == comment_id, asset_comments.c.image_id == image_id


def _comment(row: RowMapping) -> Comment:
    author = Actor.from_stored(row["author"])
    assert author is not None  # the column is not null
    names = ("id", "image_id", "text", "x", "y", "is_resolved", "created_at")
    return Comment(author=author, **{name: row[name] for name in names})
