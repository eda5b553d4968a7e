"""The bodies of comparisons."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cascade_core.operations.fields import ImageFormat
from serve.gateway.schemas.fields import (
    ClientState,
    Count,
    Guidance,
    RequiredText,
    Seed,
    Side,
    Steps,
    Text,
    User,
)
from serve.gateway.schemas.jobs import JobAnswer
from serve.storage.comparisons.comparison import MAX_ENTRIES, Vote

MAX_MODEL_CHARS = 256

ModelName = Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARS)]


class _Drawing(BaseModel):
    """Values of requests for pictures of a prompt."""

    model_config = ConfigDict(strict=True, extra="forbid")

    negative_prompt: Annotated[Text, Field(description="What they should not show.")] = None
    width: Side = None
    height: Side = None
    steps: Steps = None
    guidance_scale: Guidance = None
    decoder_steps: Annotated[Steps, Field(description="Steps that draw their details.")] = None
    decoder_guidance_scale: Annotated[Guidance, Field(description="Of the details.")] = None


class EntrySettings(_Drawing):
    """What one entry of a comparison has of its own; the rest is what all have in common."""

    model: ModelName | None = Field(None, description="Absent: the service's first.")


class ComparisonBody(_Drawing):
    """A prompt that several models, or one with several settings, draw from the same seed.

    Either `models` or `settings` says what is compared. Other values hold for all entries.
    """

    prompt: RequiredText
    models: Annotated[list[ModelName], Field(min_length=1, max_length=MAX_ENTRIES)] | None = Field(
        None, description="The ids of the models, one entry for each."
    )
    settings: Annotated[list[EntrySettings], Field(min_length=1, max_length=MAX_ENTRIES)] | None = (
        Field(None, description="The values of each entry.")
    )
    n: Count = None
    seed: Seed = None
    format: Annotated[ImageFormat | None, Field(description="Of the pictures' files.")] = None
    id: Annotated[
        str | None,
        Field(description="The comparison's id, a ULID of now; it is used up by a 429."),
    ] = None
    user: User = None
    client_state: Annotated[
        ClientState, Field(description="Kept with the job of the first entry, as with any job.")
    ] = None


class Entry(BaseModel):
    """What one entry of a comparison made, and what that took."""

    model: str | None
    settings: dict[str, Any] = Field(description="What it was given beyond what all have.")
    job: JobAnswer | None = Field(description="Null if its request never reached the service.")
    seconds: float | None = Field(description="From its start to its end; null before.")
    compute_s: float = Field(description="Seconds of computing, of all stages.")
    price: float | None = Field(
        description="Of this computing, by `CASCADE_HOUR_PRICE_*`; null if a stage has no price."
    )
    bytes: int | None = Field(description="Of its pictures' files; null if there are none.")


class PicturePair(BaseModel):
    """Two pictures of one seed; which of the two is left is the same for every reader."""

    index: int
    image_index: int
    left: str | None = Field(description="The picture's id; null until it is there.")
    right: str | None


class Tally(BaseModel):
    """Votes so far."""

    votes: list[int] = Field(description="For each entry, how many prefer its pictures.")
    same: int = Field(description="How many prefer neither.")


class ComparisonAnswer(BaseModel):
    """A comparison as it stands.

    A page that asks people without telling them what they see shows `pairs` alone.
    """

    id: str
    created_at: str
    prompt: str
    seed: int
    n: int
    state: Literal["running", "ended"] = Field(description="`ended`: all of its jobs have.")
    entries: list[Entry]
    pairs: list[PicturePair]
    tally: Tally


class ComparisonList(BaseModel):
    """A page of comparisons, newest first."""

    comparisons: list[ComparisonAnswer]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page.")


class VoteBody(BaseModel):
    """What a person prefers of a pair."""

    model_config = ConfigDict(strict=True, extra="forbid")

    pair: Annotated[int, Field(ge=0, description="Its `index`.")]
    choice: Vote
    user: User = None


class VotedSide(BaseModel):
    """What one side of a pair was."""

    entry: int
    model: str | None
    settings: dict[str, Any]


class VoteAnswer(BaseModel):
    """What counts as the voter's choice, and what the sides were."""

    pair: int
    choice: Vote = Field(description="The voter's first choice for this pair; it alone counts.")
    left: VotedSide
    right: VotedSide
    preferred: int | None = Field(description="The entry that was chosen; null: neither.")
    tally: Tally
