"""What is noted of a picture: a star, a rating and tags by its owner, and its state as an asset.

Each of them is a word of the picture in the library, too, with a sign that the words of prompts do
not have. So they are found as fast as those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from unicodedata import normalize

from sqlalchemy import RowMapping

from cascade_core.printable import is_printable

MAX_RATING: Final = 5
MAX_TAGS: Final = 20
MAX_TAG_CHARS: Final = 40

STAR: Final = "#star"
"""The word of pictures with a star."""

FULL: Final = "#full"
"""The word of pictures that have as many tags as they may."""


def state_word(state: str) -> str:
    """Return the word of pictures with a state; drafts have none."""
    return f"#state:{state}"


def rating_word(rating: int) -> str:
    """Return the word of pictures with this rating or a better one."""
    return f"#rating:{rating}"


def tag_word(tag: str) -> str:
    """Return the word of pictures with a tag."""
    return f"#tag:{tag}"


def tag_of(text: str) -> str:
    """Return a tag in its one form: in small letters, with hyphens for spaces.

    Raises:
        ValueError: it is empty or too long, or has characters that cannot be seen.
    """
    if not is_printable(text):
        raise ValueError("a tag must be printable text")
    tag = "-".join(normalize("NFC", normalize("NFKC", text).casefold()).split())
    if not 1 <= len(tag) <= MAX_TAG_CHARS:
        raise ValueError(f"a tag must have 1 to {MAX_TAG_CHARS} characters")
    return tag


def tags_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return tags in their one form, each once, in the order that they were given in.

    Raises:
        ValueError: one is no tag, or there are too many.
    """
    tags = tuple(dict.fromkeys(map(tag_of, texts)))
    if len(tags) > MAX_TAGS:
        raise ValueError(f"a picture may have at most {MAX_TAGS} tags")
    return tags


@dataclass(frozen=True, slots=True)
class Marks:
    """The star, the rating (0: none), the tags and the state (empty: a draft) of a picture."""

    star: bool = False
    rating: int = 0
    tags: tuple[str, ...] = ()
    state: str = ""

    @classmethod
    def of(cls, row: RowMapping) -> Marks:
        """Return the marks in a row of the library."""
        tags = tuple((row["tags"] or "").split())
        return cls(bool(row["star"]), row["rating"], tags, row["state"] or "")

    @property
    def columns(self) -> dict[str, Any]:
        """The marks as columns of the library; tags have no spaces."""
        return {
            "star": int(self.star),
            "rating": self.rating,
            "tags": " ".join(self.tags) or None,
            "state": self.state or None,
        }

    @property
    def words(self) -> set[str]:
        """The words by which the picture is found."""
        rated = {rating_word(rating) for rating in range(1, self.rating + 1)}
        signs = {STAR: self.star, FULL: len(self.tags) == MAX_TAGS}
        return (
            rated
            | set(map(tag_word, self.tags))
            | {state_word(one) for one in (self.state,) if one}
            | {word for word, is_set in signs.items() if is_set}
        )

    def with_tag(self, tag: str) -> Marks:
        """Return the marks with one more tag, if the picture may have one more."""
        is_new = tag not in self.tags and len(self.tags) < MAX_TAGS
        return replace(self, tags=(*self.tags, tag)) if is_new else self

    def without_tag(self, tag: str) -> Marks:
        """Return the marks without a tag."""
        return replace(self, tags=tuple(one for one in self.tags if one != tag))

    def to_json(self) -> dict[str, Any]:
        """Return their HTTP form."""
        return {"star": self.star, "rating": self.rating, "tags": list(self.tags)}
