"""The bodies of the library."""

from __future__ import annotations

from pydantic import BaseModel, Field


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


class LibraryPage(BaseModel):
    """Pictures, newest job first, the last picture of a job first."""

    items: list[LibraryPicture]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


class LibraryDay(BaseModel):
    """How many pictures were made on a day in UTC."""

    day: str
    count: int


class Timeline(BaseModel):
    """The days with pictures, latest first."""

    days: list[LibraryDay]
