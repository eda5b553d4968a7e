"""Does one thing with many pictures: with those of some ids, or with those that a search finds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select

from serve.storage.connections import Connections
from serve.storage.library.actions import Action
from serve.storage.library.entries import add_entries, unentered
from serve.storage.library.query import LibraryQuery
from serve.storage.library.search import search, seen
from serve.storage.lineage import Viewpoint
from serve.storage.schema.asset_states import PROTECTED
from serve.storage.schema.tables import library

MAX_PICTURES: Final = 500
"""Of one call."""
_BATCH = 100
"""Pictures of one transaction: a few milliseconds, in which jobs wait to write."""
IS_PROTECTED: Final = func.coalesce(library.c.state, "").in_(sorted(PROTECTED))
"""The condition of pictures that cannot be deleted, as they are assets."""
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of pictures.

    Attributes:
        changed: how many were changed; the others were as wanted before.
        missing_ids: ids that name no picture that is seen.
        impossible_ids: those that cannot be changed.
        has_more: the search finds further ones to change.
    """

    changed: int
    missing_ids: list[str] = field(default_factory=list)
    impossible_ids: list[str] = field(default_factory=list)
    has_more: bool = False


class PictureChanges:
    """Changes pictures in small transactions; every method blocks.

    Raises:
        NotReady: the database does not answer (from every method). What was changed by then stays.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def seen_ids(self, viewpoint: Viewpoint, image_ids: Sequence[str]) -> list[str]:
        """Return those of some ids that are pictures which are seen, each once, in their order."""
        asked = [image_id for image_id in dict.fromkeys(image_ids) if _ID.fullmatch(image_id)]
        known = select(library.c.image_id).where(library.c.image_id.in_(asked), *seen(viewpoint))
        with self._connections.reading() as connection:
            ids = set(connection.execute(known).scalars())
        ids |= self._enter(viewpoint, [image_id for image_id in asked if image_id not in ids])
        return [image_id for image_id in asked if image_id in ids]

    def found_ids(self, viewpoint: Viewpoint, query: LibraryQuery, limit: int) -> list[str]:
        """Return the ids of the newest pictures that a search finds."""
        with self._connections.reading() as connection:
            return _found(connection, viewpoint, query, limit)

    def deletable(
        self, viewpoint: Viewpoint, image_ids: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Return those of some pictures that are seen, and those of these that are protected."""
        known = self.seen_ids(viewpoint, image_ids)
        protected = select(library.c.image_id).where(library.c.image_id.in_(known), IS_PROTECTED)
        with self._connections.reading() as connection:
            kept = set(_scalars(connection, protected))
        return [one for one in known if one not in kept], sorted(kept)

    def deletable_found(
        self, viewpoint: Viewpoint, query: LibraryQuery, limit: int
    ) -> tuple[list[str], list[str]]:
        """Return the newest pictures that a search finds and that are not protected.

        If these are all of them, those that are protected come second.
        """
        with self._connections.reading() as connection:
            found = _found(connection, viewpoint, query, limit, ~IS_PROTECTED)
            if len(found) == limit:
                return found, []
            return found, _found(connection, viewpoint, query, limit, IS_PROTECTED)

    def change(self, viewpoint: Viewpoint, image_ids: Sequence[str], action: Action) -> Outcome:
        """Do something with the pictures of some ids."""
        known = set(self.seen_ids(viewpoint, image_ids))
        is_one = library.c.image_id.in_(sorted(known))
        due = select(library.c.image_id).where(is_one, action.is_due)
        with self._connections.reading() as connection:
            impossible = set(_scalars(connection, due.where(action.is_impossible)))
            wanted = [one for one in _scalars(connection, due) if one not in impossible]
        self._apply(wanted, action)
        missing = [one for one in dict.fromkeys(image_ids) if one not in known]
        return Outcome(len(wanted), missing, sorted(impossible))

    def change_found(
        self, viewpoint: Viewpoint, query: LibraryQuery, action: Action, limit: int = MAX_PICTURES
    ) -> Outcome:
        """Do something with pictures that a search finds, ``limit`` at most.

        Called again until it says that there are no more, it has done it with all of them.
        """
        is_possible = action.is_due, ~action.is_impossible
        with self._connections.reading() as connection:
            wanted = _found(connection, viewpoint, query, limit + 1, *is_possible)
            impossible: list[str] = []
            if len(wanted) <= limit:  # they are named once, at the end
                never = action.is_due, action.is_impossible
                impossible = _found(connection, viewpoint, query, limit, *never)
        self._apply(wanted[:limit], action)
        return Outcome(len(wanted[:limit]), impossible_ids=impossible, has_more=len(wanted) > limit)

    def _enter(self, viewpoint: Viewpoint, image_ids: Sequence[str]) -> set[str]:
        """Enter seen pictures that an earlier release made and that are not entered yet."""
        if not image_ids:
            return set()
        with self._connections.reading() as connection:
            rows = unentered(connection, viewpoint, image_ids)
        if rows:
            with self._connections.writing() as connection:
                add_entries(connection, rows)
        return {row["id"] for row in rows}

    def _apply(self, image_ids: Sequence[str], action: Action) -> None:
        for start in range(0, len(image_ids), _BATCH):
            with self._connections.writing() as connection:
                action.apply(connection, image_ids[start : start + _BATCH])


def _found(
    connection: Connection,
    viewpoint: Viewpoint,
    query: LibraryQuery,
    limit: int,
    *conditions: ColumnElement[bool],
) -> list[str]:
    wanted = search(connection, viewpoint, query)
    found = select(library.c.image_id).select_from(wanted.source)
    found = found.where(*wanted.conditions, *conditions)
    newest_first = wanted.order.job_id.desc(), wanted.order.index.desc()
    return _scalars(connection, found.order_by(*newest_first).limit(limit))


def _scalars(connection: Connection, query: Select[Any]) -> list[str]:
    return list(connection.execute(query).scalars())
