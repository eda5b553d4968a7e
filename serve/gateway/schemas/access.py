"""The bodies about API keys and browser sessions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from serve.storage.access.credentials import (
    DEFAULT_REQUESTS_PER_MINUTE,
    MAX_MODEL_CHARS,
    MAX_MODELS,
    MAX_NAME_CHARS,
    SCOPES,
    KeyScope,
)

MAX_REQUESTS_PER_MINUTE = 1_000_000
_TOKEN_CHARS = 256

Token = Annotated[str, Field(min_length=1, max_length=_TOKEN_CHARS, description="An API key.")]


class KeyAnswer(BaseModel):
    """An API key without its secret."""

    id: str
    name: str
    scopes: list[KeyScope]
    requests_per_minute: int = Field(description="0: no limit.")
    models: list[str] | None = Field(description="Ids of those that it may use; null: all.")
    created_at: str
    last_used_at: str | None = Field(description="Accurate to an hour.")
    revoked_at: str | None


class KeyList(BaseModel):
    """All keys, oldest first, revoked ones included."""

    keys: list[KeyAnswer]


class NewKeyBody(BaseModel):
    """A key to make; a session sends the key that it signed in with again."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=len(SCOPES))]
    requests_per_minute: Annotated[int, Field(ge=0, le=MAX_REQUESTS_PER_MINUTE)] = (
        DEFAULT_REQUESTS_PER_MINUTE
    )
    models: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARS)]],
            Field(min_length=1, max_length=MAX_MODELS),
        ]
        | None
    ) = Field(None, description="Ids of those that it may use; absent: all.")
    key: Token | None = Field(None, description="Required in a request of a session.")


class NewKeyAnswer(KeyAnswer):
    """The new key; its secret is shown this once."""

    token: str = Field(description="Sent as `Authorization: Bearer`.")


class SignInBody(BaseModel):
    """The key to sign in with."""

    model_config = ConfigDict(strict=True, extra="forbid")

    key: Token


class SessionAnswer(BaseModel):
    """A browser that has signed in."""

    id: str
    created_at: str
    used_at: str = Field(description="Accurate to a minute.")
    expires_at: str = Field(description="It ends earlier if nothing uses it for 12 hours.")
    is_current: bool = Field(description="This session has sent the request.")


class SessionList(BaseModel):
    """The sessions of the caller's key, latest sign-in first."""

    sessions: list[SessionAnswer]


class Me(BaseModel):
    """The sender of the request."""

    key: KeyAnswer | None = Field(
        description="Null while the service has no keys: it then answers its own machine only."
    )
    session: SessionAnswer | None = Field(description="Null in a request with the key itself.")
