"""Where a job's outcome goes: all the bot must remember, kept with the job as its client state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Self

from bot.policy.credit import Credit

TOKEN_S = 15 * 60
"""How long Discord takes answers to an interaction."""
_TOKEN_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a delivered job's pictures are shown; see :class:`DeliveryTarget` for ``of``."""

    spoiler: bool = False
    of: tuple[str, int] | None = None
    credit: Credit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTarget:
    """The message that a job lives in, and how to reach it.

    Attributes:
        application_id, token, token_until: let us edit the message for a quarter of an hour after
            the interaction (Unix time).
        user_id: who asked.
        reachable: the bot itself can edit the message later: it is a member of the server, or the
            message is in its own direct messages.
        locale: the language of this message.
        file_limit_bytes: the largest file that may be attached.
        of: the picture that is varied, as job id and index.
        credit: what the job came from; None for a command.
    """

    application_id: int
    token: str
    token_until: float
    channel_id: int
    message_id: int
    user_id: int
    guild_id: int | None
    reachable: bool
    private: bool
    spoiler: bool
    preview: bool
    locale: str
    file_limit_bytes: int
    of: tuple[str, int] | None = None
    credit: Credit | None = None

    @property
    def has_token(self) -> bool:
        """Tell whether the interaction's token still works."""
        return time.time() < self.token_until - _TOKEN_MARGIN_S

    @property
    def bot_may_edit(self) -> bool:
        """Tell whether the message can be edited without the token: nobody's private one can."""
        return self.reachable and not self.private

    def to_state(self) -> dict[str, Any]:
        """Return the client state of a job whose outcome is awaited here."""
        body = asdict(self) | {"of": list(self.of) if self.of else None}
        return {"inbox": inbox_of(self.application_id), "address": body}

    def delivered_state(self) -> dict[str, Any]:
        """Return the client state after delivery: out of the inbox, and without the token."""
        kept = ("channel_id", "message_id", "guild_id", "spoiler", "of", "credit")
        body = asdict(self)
        return {"delivered": {name: body[name] for name in kept}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self | None:
        """Read a job's client state; None if no outcome is awaited, or it is not of this form."""
        body = state.get("address")
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not isinstance(body, dict) or not needed <= body.keys():
            return None
        values = {field.name: body[field.name] for field in fields(cls) if field.name in body}
        read = {"of": _picture(body.get("of")), "credit": Credit.from_state(body.get("credit"))}
        return cls(**values | read)


def presentation_of(state: Mapping[str, Any]) -> Presentation:
    """Return how a job's pictures were shown where they were delivered."""
    kept = state.get("delivered") or state.get("address") or {}
    return Presentation(
        bool(kept.get("spoiler")), _picture(kept.get("of")), Credit.from_state(kept.get("credit"))
    )


def _picture(value: Any) -> tuple[str, int] | None:
    try:
        return (str(value[0]), int(value[1])) if value else None
    except (TypeError, ValueError, LookupError):
        return None


def inbox_of(application_id: int) -> str:
    """Return the inbox of one Discord application: two bots may share a service."""
    return f"discord.{application_id}"
