"""Finds pictures by the words of their prompts, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    func,
    or_,
    select,
    tuple_,
    update,
)

from cascade_core.operations.fields import ImageFormat
from serve.storage.connections import Connections
from serve.storage.library.entries import add_entries, missing_entries, remove_entry
from serve.storage.library.query import LibraryQuery, Term
from serve.storage.lineage import Viewpoint
from serve.storage.records import iso_utc
from serve.storage.schema.tables import images, library, library_words

_BATCH = 500
_COUNTED = 1000
"""Of a word no more pictures are counted to find the word that fewest have."""

_AFTER_ALL = "\U0010ffff"
"""The last code point: it ends the words with a beginning."""

Place = tuple[str, int]
"""A picture's job and its index there, which order the library."""


@dataclass(frozen=True, slots=True)
class LibraryItem:
    """A picture as the library shows it."""

    id: str
    job_id: str
    index: int
    latent_id: str
    kind: str
    prompt: str
    seed: int
    width: int
    height: int
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form."""
        names = (
            *("id", "job_id", "index", "latent_id", "kind"),
            "prompt",
            "seed",
            "width",
            "height",
        )
        return {name: getattr(self, name) for name in names} | {
            "created_at": iso_utc(self.created_at),
            "url": f"/v1/images/{self.id}",
            "thumb_url": f"/v1/thumbs/{self.id}",
        }


class LibraryStore:
    """Searches the library; every method blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def page(
        self, viewpoint: Viewpoint, query: LibraryQuery, after: Place | None, limit: int
    ) -> list[LibraryItem]:
        """Return the pictures that match, newest job first, the last picture of a job first.

        Args:
            viewpoint: the owner whose pictures are seen.
            query: what they must match.
            after: the place of the last picture that is known; None: from the newest on.
            limit: most pictures.
        """
        with self._connections.reading() as connection:
            order, conditions, source = self._search(connection, viewpoint, query)
            found = (
                select(*_SHOWN)
                .select_from(source.join(images, images.c.id == library.c.image_id))
                .where(*conditions, images.c.deleted_at.is_(None))
                .order_by(order.job_id.desc(), order.index.desc())
                .limit(limit)
            )
            if after is not None:
                found = found.where(_is_before(order, after))
            return [LibraryItem(**row) for row in connection.execute(found).mappings()]

    def timeline(self, viewpoint: Viewpoint, query: LibraryQuery) -> list[tuple[str, int]]:
        """Return how many pictures match by day in UTC, latest day first; days without none."""
        day = library.c.day
        with self._connections.reading() as connection:
            _, conditions, source = self._search(connection, viewpoint, query)
            counted = select(day, func.count()).select_from(source).where(*conditions)
            by_day = counted.group_by(day).order_by(day.desc())
            return [(day, count) for day, count in connection.execute(by_day)]

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

    def without_thumbnails(self, limit: int) -> list[tuple[str, ImageFormat]]:
        """Return ids and formats of the newest pictures that are not known to have thumbnails."""
        query = select(images.c.id, images.c.format)
        query = query.join(library, library.c.image_id == images.c.id)
        query = query.where(library.c.thumbnail_bytes.is_(None), images.c.deleted_at.is_(None))
        newest_first = library.c.job_id.desc(), library.c.index.desc()
        with self._connections.reading() as connection:
            rows = connection.execute(query.order_by(*newest_first).limit(limit)).all()
        return [(row.id, row.format) for row in rows]

    def set_thumbnail_bytes(self, image_id: str, size_bytes: int) -> None:
        """Record the size of a picture's thumbnails; 0 if they cannot be made."""
        change = update(library).where(library.c.image_id == image_id)
        with self._connections.writing() as connection:
            connection.execute(change.values(thumbnail_bytes=size_bytes))

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

    def _search(
        self, connection: Connection, viewpoint: Viewpoint, query: LibraryQuery
    ) -> tuple[Any, list[ColumnElement[bool]], FromClause]:
        """Return the columns that order what matches, the conditions, and what to select from.

        A search for words goes through the pictures of the word that fewest have.
        """
        conditions = [*_seen(viewpoint), *_conditions(viewpoint, query)]
        words = {word for term in query.terms for word in _whole_words(term)}
        if not words:
            return library.c, conditions, library
        rarest = min(sorted(words), key=lambda word: _count(connection, viewpoint, word))
        conditions += [_has_word(word).correlate(library).exists() for word in words - {rarest}]
        driver = library_words.alias("rarest")
        conditions += [driver.c.word == rarest, *_owned(driver, viewpoint)]
        return driver.c, conditions, driver.join(library, _same_place(driver))


_SHOWN = (
    *(library.c[name] for name in ("job_id", "index", "kind", "prompt", "seed", "width", "height")),
    *(images.c.id, images.c.latent_id, images.c.ready_at.label("created_at")),
)


def _whole_words(term: Term) -> tuple[str, ...]:
    """Return the words that every picture has which matches a term."""
    if term.is_excluded:
        return ()
    return term.words[:-1] if term.is_prefix else term.words


def _conditions(viewpoint: Viewpoint, query: LibraryQuery) -> Iterator[ColumnElement[bool]]:
    """Yield what a picture must fulfil, but for the whole words that it must have."""
    for name, value in query.filters:
        yield library.c[name] == value
    if query.after:
        yield library.c.day >= query.after
    if query.before:
        yield library.c.day < query.before
    for term in query.terms:
        if term.is_prefix and not term.is_excluded:
            place = tuple_(library.c.job_id, library.c.index)
            yield place.in_(_places_of_prefix(viewpoint, term.words[-1]))
        if len(term.words) > 1 or term.is_excluded:
            # Words are letters and digits alone: nothing in them means something to LIKE.
            end = "" if term.is_prefix else " "
            is_found = (" " + library.c.words + " ").like(f"% {' '.join(term.words)}{end}%")
            yield ~is_found if term.is_excluded else is_found


def _places_of_prefix(viewpoint: Viewpoint, beginning: str) -> Select[Any]:
    word = library_words.c.word
    query = select(library_words.c.job_id, library_words.c.index)
    query = query.where(word >= beginning, word < beginning + _AFTER_ALL)
    return query.where(*_owned(library_words, viewpoint))


def _count(connection: Connection, viewpoint: Viewpoint, word: str) -> int:
    few = select(library_words.c.job_id)
    few = few.where(library_words.c.word == word, *_owned(library_words, viewpoint))
    counted = select(func.count()).select_from(few.limit(_COUNTED).subquery())
    return connection.execute(counted).scalar_one()


def _has_word(word: str) -> Select[Any]:
    one = library_words.alias()
    return select(one.c.word).where(one.c.word == word, _same_place(one))


def _same_place(table: FromClause) -> ColumnElement[bool]:
    return and_(table.c.job_id == library.c.job_id, table.c.index == library.c.index)


def _owned(table: FromClause, viewpoint: Viewpoint) -> list[ColumnElement[bool]]:
    return [] if viewpoint.key_id is None else [table.c.owner == viewpoint.key_id]


def _seen(viewpoint: Viewpoint) -> list[ColumnElement[bool]]:
    user = [] if viewpoint.user is None else [library.c.user == viewpoint.user]
    return [*_owned(library, viewpoint), *user]


def _is_before(order: Any, place: Place) -> ColumnElement[bool]:
    job_id, index = place
    return or_(order.job_id < job_id, and_(order.job_id == job_id, order.index < index))
