"""Builds the SQL of searches: through the pictures of a board, or of the word that fewest have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, select, tuple_

from serve.storage.library.board_store import on_board, seen_boards
from serve.storage.library.query import LibraryQuery, Term
from serve.storage.lineage import Viewpoint
from serve.storage.schema.tables import board_pictures, boards, library, library_words

_COUNTED = 1000
"""Of a word no more pictures are counted to find the word that fewest have."""

_AFTER_ALL = "\U0010ffff"
"""The last code point: it ends the words with a beginning."""


@dataclass(frozen=True, slots=True)
class Search:
    """The parts of a query for the pictures that match.

    Attributes:
        order: the columns ``job_id`` and ``index`` that order them.
        conditions: what they must fulfil.
        source: the library, joined with what is searched.
    """

    order: Any
    conditions: list[ColumnElement[bool]]
    source: FromClause


def search(connection: Connection, viewpoint: Viewpoint, query: LibraryQuery) -> Search:
    """Return the search of an owner's pictures."""
    conditions = [*seen(viewpoint), *_conditions(viewpoint, query)]
    words = {word for term in query.terms for word in _whole_words(term)} | set(query.marks)
    if query.boards:
        return _search_of_board(
            viewpoint, query.boards, [*conditions, *map(has_word, sorted(words))]
        )
    if not words:
        return Search(library.c, conditions, library)
    rarest = min(sorted(words), key=lambda word: _count(connection, viewpoint, word))
    conditions += [has_word(word) for word in words - {rarest}]
    driver = library_words.alias("rarest")
    conditions += [driver.c.word == rarest, *_owned(driver, viewpoint)]
    return Search(driver.c, conditions, driver.join(library, _same_place(driver)))


def _search_of_board(
    viewpoint: Viewpoint, board_ids: Sequence[str], conditions: Sequence[ColumnElement[bool]]
) -> Search:
    """Return the search through the pictures of the first of some boards."""
    first, *others = board_ids
    driver = board_pictures.alias("board")
    is_seen = [
        select(boards.c.id).where(boards.c.id == board_id, *seen_boards(viewpoint)).exists()
        for board_id in board_ids
    ]
    is_there = [driver.c.board_id == first, *map(on_board, others), *is_seen]
    source = driver.join(library, _same_place(driver))
    return Search(driver.c, [*conditions, *is_there], source)


def seen(viewpoint: Viewpoint) -> list[ColumnElement[bool]]:
    """Return the conditions of the pictures that are seen."""
    user = [] if viewpoint.user is None else [library.c.user == viewpoint.user]
    return [*_owned(library, viewpoint), *user]


def has_word(word: str) -> ColumnElement[bool]:
    """Return the condition of pictures with a word, of their prompt or of their marks."""
    one = library_words.alias()
    found = select(one.c.word).where(one.c.word == word, _same_place(one))
    return found.correlate(library).exists()


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
    for mark in query.excluded_marks:
        yield ~has_word(mark)
    beginnings = (term for term in query.terms if term.is_prefix and not term.is_excluded)
    # One of them alone is looked up, as each can have most of all words; the longest has fewest.
    longest = max(beginnings, key=lambda term: len(term.words[-1]), default=None)
    if longest is not None:
        place = tuple_(library.c.job_id, library.c.index)
        yield place.in_(_places_of_prefix(viewpoint, longest.words[-1]))
    for term in query.terms:
        is_looked_up = term is longest or not (term.is_prefix or term.is_excluded)
        if len(term.words) > 1 or not is_looked_up:
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


def _same_place(table: FromClause) -> ColumnElement[bool]:
    return and_(table.c.job_id == library.c.job_id, table.c.index == library.c.index)


def _owned(table: FromClause, viewpoint: Viewpoint) -> list[ColumnElement[bool]]:
    return [] if viewpoint.key_id is None else [table.c.owner == viewpoint.key_id]
