"""What a search of the library asks for, and how it is written.

red heart            pictures whose prompts have both words
"red heart"          one after the other
-blue  car*          without a word; with a word that begins so
kind:vary  seed:7  size:1024x768  before:2026-12-01  after:2026-11-01
star:yes  rating:>=3  tag:shoe  -tag:old  state:approved  board:01JX...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from cascade_core.errors import InvalidRequest
from cascade_core.operations.registry import OPERATIONS
from serve.storage.library.marks import (
    MAX_RATING,
    STAR,
    rating_word,
    state_word,
    tag_of,
    tag_word,
)
from serve.storage.library.words import words_of
from serve.storage.schema.asset_states import DRAFT, STATES

MAX_QUERY_CHARS: Final = 500
MAX_TERMS: Final = 20
MIN_PREFIX_CHARS: Final = 2

_TOKEN = re.compile(r'-?"[^"]*"?|\S+')
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_RATING = re.compile(rf"(>=|<=|)([0-{MAX_RATING}])")
_BOARD = re.compile(r"[A-Za-z0-9_-]{1,64}")

Words = tuple[list[str], list[str]]
"""Words that pictures must have, and words that they must not have."""


@dataclass(frozen=True, slots=True)
class Term:
    """Words that follow each other in a prompt.

    Attributes:
        words: at least one.
        is_prefix: the last of them is the beginning of a word.
        is_excluded: pictures with them are left out.
    """

    words: tuple[str, ...]
    is_prefix: bool = False
    is_excluded: bool = False


@dataclass(frozen=True, slots=True)
class LibraryQuery:
    """A search; all that it names must hold.

    Attributes:
        terms: words and phrases.
        filters: values by column of the library.
        after, before: first day, and the day after the last one, in UTC.
        marks: words of marks that the pictures must have.
        excluded_marks: words of marks that they must not have.
        boards: ids of boards that they must be on.
    """

    terms: tuple[Term, ...] = ()
    filters: tuple[tuple[str, Any], ...] = ()
    after: str = ""
    before: str = ""
    marks: tuple[str, ...] = ()
    excluded_marks: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LibraryQuery:
        """Read a search as people write it.

        Raises:
            InvalidRequest: it is too long, or a filter is unknown or has no such value.
        """
        if len(text) > MAX_QUERY_CHARS:
            raise InvalidRequest(f"q may have at most {MAX_QUERY_CHARS} characters", "q")
        terms: list[Term] = []
        filters: list[tuple[str, Any]] = []
        days = {"after": "", "before": ""}
        marks: list[str] = []
        excluded: list[str] = []
        boards: list[str] = []
        for token in _TOKEN.findall(text):
            name, colon, value = token.partition(":")
            if not colon or token.lstrip("-").startswith('"'):
                terms += _terms(token)
            elif name in days:
                days[name] = _day(name, value)
            elif name in _FILTERS:
                filters += _FILTERS[name](value)
            elif name in _MARKS:
                wanted, unwanted = _MARKS[name](value)
                marks, excluded = marks + wanted, excluded + unwanted
            elif name == "board":
                boards.append(_board(value))
            else:
                known = ", ".join(f"{one}:" for one in (*_FILTERS, *_MARKS, "board", *days))
                raise InvalidRequest(f"q has the unknown filter {name!r}; there are {known}", "q")
        if len(terms) > MAX_TERMS:
            raise InvalidRequest(f"q may have at most {MAX_TERMS} words and phrases", "q")
        if len(marks) + len(excluded) + len(boards) > MAX_TERMS:
            message = f"q may name at most {MAX_TERMS} stars, ratings, tags and boards"
            raise InvalidRequest(message, "q")
        return cls(
            terms=tuple(dict.fromkeys(terms)),
            filters=tuple(filters),
            **days,
            marks=tuple(marks),
            excluded_marks=tuple(excluded),
            boards=tuple(boards),
        )


def _terms(token: str) -> Iterator[Term]:
    """Yield the term of a word or phrase; none if it has neither letter nor digit."""
    is_excluded = token.startswith("-")
    is_prefix = token.endswith("*")
    words = tuple(words_of(token))
    if not words:
        return
    if is_prefix and len(words[-1]) < MIN_PREFIX_CHARS:
        message = f"q: before * there must be at least {MIN_PREFIX_CHARS} letters or digits"
        raise InvalidRequest(message, "q")
    yield Term(words, is_prefix, is_excluded)


def _day(name: str, value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise InvalidRequest(f"q: {name}: takes a day such as 2026-11-30", "q") from error


def _kind(value: str) -> list[tuple[str, Any]]:
    if value not in OPERATIONS:
        raise InvalidRequest(f"q: kind: is one of {', '.join(OPERATIONS)}", "q")
    return [("kind", value)]


def _seed(value: str) -> list[tuple[str, Any]]:
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise InvalidRequest("q: seed: takes a whole number", "q")
    return [("seed", int(value))]


def _size(value: str) -> list[tuple[str, Any]]:
    match = _SIZE.fullmatch(value)
    if match is None:
        raise InvalidRequest("q: size: takes width x height, such as 1024x768", "q")
    return [("width", int(match[1])), ("height", int(match[2]))]


_FILTERS: Final[dict[str, Callable[[str], list[tuple[str, Any]]]]] = {
    "kind": _kind,
    "seed": _seed,
    "size": _size,
}


def _star(value: str) -> Words:
    if value not in ("yes", "no"):
        raise InvalidRequest("q: star: is yes or no", "q")
    return ([STAR], []) if value == "yes" else ([], [STAR])


def _rating(value: str) -> Words:
    match = _RATING.fullmatch(value)
    if match is None:
        message = f"q: rating: takes a number from 0 to {MAX_RATING}, also after >= or <="
        raise InvalidRequest(message, "q")
    sign, rating = match[1], int(match[2])
    least = 0 if sign == "<=" else rating
    above = MAX_RATING + 1 if sign == ">=" else rating + 1
    wanted = [rating_word(least)] if least > 0 else []
    return wanted, [rating_word(above)] if above <= MAX_RATING else []


def _tag(value: str) -> Words:
    try:
        return [tag_word(tag_of(value))], []
    except ValueError as error:
        raise InvalidRequest(f"q: tag: {error}", "q") from error


def _no_tag(value: str) -> Words:
    wanted, unwanted = _tag(value)
    return unwanted, wanted


def _state(value: str) -> Words:
    if value not in STATES:
        raise InvalidRequest(f"q: state: is one of {', '.join(STATES)}", "q")
    if value == DRAFT:
        return [], [state_word(one) for one in STATES if one != DRAFT]
    return [state_word(value)], []


def _board(value: str) -> str:
    if not _BOARD.fullmatch(value):
        raise InvalidRequest("q: board: takes the id of a board", "q")
    return value


_MARKS: Final[dict[str, Callable[[str], Words]]] = {
    "star": _star,
    "rating": _rating,
    "tag": _tag,
    "-tag": _no_tag,
    "state": _state,
}
