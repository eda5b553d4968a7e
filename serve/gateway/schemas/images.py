"""What answers say of how pictures descend from each other, as OpenAPI shows it."""

from __future__ import annotations

from pydantic import BaseModel, Field

_OPERATION = "The kind of job that makes {} alone: `vary` for those of a series."
_STRENGTH = "How far the younger one departs from the latent, 0 to 1; null: it keeps it."


class DerivedFrom(BaseModel):
    """What an image is made from."""

    operation: str = Field(description=_OPERATION.format("the image"))
    latent_id: str | None = Field(
        description="The stored latent that it starts from; null if it starts from an upload."
    )
    upload_id: str | None = Field(
        None, description="The upload that it starts from; absent if it starts from a latent."
    )
    strength: float | None = Field(description=_STRENGTH)
    image_id: str | None = Field(
        description="The picture that this latent was made for; null if there is none."
    )


class Relative(BaseModel):
    """A picture that another one was made from, or that was made from another one."""

    operation: str = Field(description=_OPERATION.format("the younger of the two"))
    strength: float | None = Field(description=_STRENGTH)
    image_id: str | None = Field(description="Null if the latent became no picture.")
    latent_id: str
    job_id: str
    is_deleted: bool


class Lineage(BaseModel):
    """The parents of a picture and a page of its children; those of other callers are left out."""

    parents: list[Relative]
    children: list[Relative] = Field(description="Newest first, without deleted ones.")
    next_cursor: str | None = Field(description="Give it as `cursor` for more children.")
