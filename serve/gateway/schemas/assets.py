"""The bodies of assets, their comments and the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cascade_core.operations.fields import ImageFormat
from serve.gateway.schemas.boards import PictureIds
from serve.gateway.schemas.fields import User
from serve.storage.schema.asset_states import ActionName, AssetState

MAX_NOTE_CHARS = 2000
MAX_COMMENT_CHARS = 4000


def _storable(text: str) -> str:
    """Return text that a database and an answer can hold; it may have several lines."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must not have half surrogate pairs") from error
    if "\0" in text:
        raise ValueError("must not have NUL characters")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text.strip()


Note = Annotated[
    str,
    Field(max_length=MAX_NOTE_CHARS, description="Why; `reject` needs one."),
    AfterValidator(_storable),
]
CommentText = Annotated[
    str,
    Field(min_length=1, max_length=MAX_COMMENT_CHARS),
    AfterValidator(_storable),
    AfterValidator(_not_blank),
]
Part = Annotated[float, Field(ge=0, le=1)]


class ActorAnswer(BaseModel):
    """What did something."""

    key: str = Field(description="The API key's name then; `local` without keys.")
    user: str | None = Field(description="The end user that the key acted for.")


class AssetModel(BaseModel):
    """The weights that made a picture; `GET /v1/models/{id}` tells more of a served model."""

    id: str
    revision: str
    fingerprint: str


class AssetAnswer(BaseModel):
    """A picture with its state."""

    id: str = Field(description="The picture's.")
    state: AssetState
    version: int = Field(description="How often it changed its state; give it with the next one.")
    sha256: str | None = Field(description="Of the file that was submitted first.")
    job_id: str
    index: int
    prompt: str
    kind: str
    width: int
    height: int
    format: ImageFormat
    seed: int
    decoder_seed: int
    latent_id: str
    model: AssetModel | None = Field(description="Null if it is not recorded.")
    submitted_by: ActorAnswer | None
    submitted_at: str | None
    decided_by: ActorAnswer | None = Field(description="Of the latest approval or rejection.")
    decided_at: str | None
    note: str = Field(description="Of that decision.")
    published_at: str | None
    changed_at: str | None
    comment_count: int
    image_url: str
    thumb_url: str
    actions: list[ActionName] = Field(description="What the caller may do with it now.")
    mine: bool = Field(description="The caller owns the picture.")


class AssetCounts(BaseModel):
    """How many assets the caller sees, by state."""

    submitted: int
    approved: int
    rejected: int
    published: int
    archived: int


class AssetList(BaseModel):
    """A page of assets."""

    assets: list[AssetAnswer]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page.")
    counts: AssetCounts


class TransitionBody(BaseModel):
    """An action on an asset."""

    model_config = ConfigDict(strict=True, extra="forbid")

    action: ActionName
    note: Note = ""
    expected_version: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Of the asset that the caller saw; 409 if it has another one now."
    )
    user: User = None


class BulkTransition(BaseModel):
    """One action on several assets."""

    model_config = ConfigDict(strict=True, extra="forbid")

    ids: PictureIds
    action: ActionName
    note: Note = ""
    user: User = None


class AssetError(BaseModel):
    """Why an asset was left as it was."""

    code: str
    message: str
    field: str | None = None


class TransitionResult(BaseModel):
    """What became of an asset: it as it is now, or the error."""

    id: str
    asset: AssetAnswer | None
    error: AssetError | None


class BulkTransitionAnswer(BaseModel):
    """What became of each asset, in the order of the ids."""

    results: list[TransitionResult]


class EventAnswer(BaseModel):
    """Something that was done."""

    id: str
    at: str
    actor: ActorAnswer
    action: str = Field(description="Of an asset, `export`, or `purge`.")
    asset: str | None = Field(description="The asset's id; null if it was several, or none.")
    from_state: AssetState | None
    to_state: AssetState | None
    sha256: str | None
    details: dict[str, Any]
    note: str = Field(description="Empty: there was none, or it was erased with the picture.")
    hash: str = Field(description="SHA-256 of the event and of the hash of the one before it.")


class History(BaseModel):
    """What was done with an asset, oldest first."""

    events: list[EventAnswer]


class AuditPage(BaseModel):
    """Events of all assets, newest first."""

    events: list[EventAnswer]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page.")


class CommentBody(BaseModel):
    """A comment."""

    model_config = ConfigDict(strict=True, extra="forbid")

    text: CommentText
    x: Part | None = Field(None, description="The place it points at, from the left: 0 to 1.")
    y: Part | None = Field(None, description="From the top: 0 to 1.")
    user: User = None


class CommentPatch(BaseModel):
    """A change of a comment."""

    model_config = ConfigDict(strict=True, extra="forbid")

    resolved: bool
    user: User = None


class CommentAnswer(BaseModel):
    """A comment."""

    id: str
    author: ActorAnswer
    text: str
    x: float | None
    y: float | None
    resolved: bool
    created_at: str
    mine: bool = Field(description="The caller wrote it.")


class CommentList(BaseModel):
    """Comments, oldest first."""

    comments: list[CommentAnswer]
