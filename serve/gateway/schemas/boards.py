"""The bodies of boards and of changes of many pictures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cascade_core.printable import is_printable
from serve.storage.library.picture_changes import MAX_PICTURES
from serve.storage.library.query import MAX_QUERY_CHARS
from serve.storage.schema.tables import MAX_TITLE_CHARS

MAX_ID_CHARS = 64
"""With a limit, text that cannot be sent back is refused, too: half of a surrogate pair."""

Verb = Literal[
    "star", "unstar", "rate", "tag", "untag", "add_to_board", "remove_from_board", "delete"
]


def _title(value: str) -> str:
    if not is_printable(value) or not value.strip():
        raise ValueError("must be printable text")
    return value.strip()


Title = Annotated[str, Field(min_length=1, max_length=MAX_TITLE_CHARS), AfterValidator(_title)]
PictureId = Annotated[str, Field(max_length=MAX_ID_CHARS)]
PictureIds = Annotated[list[PictureId], Field(min_length=1, max_length=MAX_PICTURES)]


class BoardBody(BaseModel):
    """The title of a board."""

    model_config = ConfigDict(strict=True, extra="forbid")

    title: Title


class Board(BaseModel):
    """A board; `q=board:ID` finds its pictures."""

    id: str
    title: str
    created_at: str
    count: int = Field(description="How many pictures are on it.")


class BoardList(BaseModel):
    """Boards, newest first."""

    boards: list[Board]


class PicturesBody(BaseModel):
    """Pictures to put on a board, or to take from it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    ids: PictureIds


class BulkBody(BaseModel):
    """One thing to do with many pictures."""

    model_config = ConfigDict(strict=True, extra="forbid")

    ids: PictureIds | None = None
    q: Annotated[str, Field(max_length=MAX_QUERY_CHARS)] | None = Field(
        None, description="Instead of `ids`: the pictures that this finds in the library."
    )
    action: Verb
    value: int | str | None = Field(
        None, description="The rating (0 to 5), the tag, or the id of the board."
    )


class Failure(BaseModel):
    """A picture that was not changed, and the error that says why."""

    id: str
    code: str
    message: str


class BulkAnswer(BaseModel):
    """What became of the pictures; those that were as wanted before are not counted."""

    changed: int
    failed: list[Failure]
    more: bool = Field(description="Send the same request again: `q` finds more to change.")
