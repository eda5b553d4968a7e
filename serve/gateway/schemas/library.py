"""The bodies of the library."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serve.storage.library.marks import MAX_RATING, MAX_TAG_CHARS, MAX_TAGS, Marks, tags_of
from serve.storage.schema.asset_states import AssetState

Rating = Annotated[int, Field(ge=0, le=MAX_RATING)]
Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG_CHARS)]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(tags_of)]


class LibraryPicture(BaseModel):
    """A picture in the library."""

    id: str
    job_id: str
    index: int = Field(description="Its place among the pictures of its job.")
    latent_id: str
    kind: str
    prompt: str = Field(description="Its own one, where the pictures of a job have several.")
    seed: int
    width: int
    height: int
    created_at: str
    url: str
    thumb_url: str
    star: bool
    rating: int = Field(description="0: none.")
    tags: list[str]
    boards: list[str] = Field(description="The ids of the boards that it is on.")
    state: AssetState = Field(description="As an asset; see `GET /v1/assets`.")


class ImagePatch(BaseModel):
    """What to note of a picture; what is absent stays as it is."""

    model_config = ConfigDict(strict=True, extra="forbid")

    star: bool | None = None
    rating: Rating | None = Field(None, description="0: none.")
    tags: Tags | None = Field(
        None, description="All of them, kept in small letters, with hyphens for spaces."
    )

    def applied_to(self, marks: Marks) -> Marks:
        """Return a picture's marks with these changes."""
        return replace(
            marks,
            star=marks.star if self.star is None else self.star,
            rating=marks.rating if self.rating is None else self.rating,
            tags=marks.tags if self.tags is None else tuple(self.tags),
        )


class LibraryPage(BaseModel):
    """Pictures, newest job first, the last picture of a job first; the reverse by `order`."""

    items: list[LibraryPicture]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


class LibraryDay(BaseModel):
    """How many pictures were made on a day in UTC."""

    day: str
    count: int


class Timeline(BaseModel):
    """The days with pictures, latest first."""

    days: list[LibraryDay]
