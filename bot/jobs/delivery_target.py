"""The message in which a job's outcome is delivered; stored by the service as client state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Self

from bot.policy.message_credit import Credit
from cascade_core import comparison_jobs

TOKEN_S = 15 * 60
"""How long Discord accepts answers to an interaction."""
_TOKEN_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a job's pictures are shown; its attributes are those of :class:`DeliveryTarget`."""

    spoiler: bool = False
    of: tuple[str, int] | None = None
    credit: Credit | None = None
    comparison: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTarget:
    """A job's message, and what the bot needs to edit it.

    Attributes:
        application_id, token: the interaction's; they allow edits of the message.
        token_until: Unix time at which the token expires, 15 minutes after the interaction.
        channel_id, message_id: of the message.
        user_id: the person that asked.
        guild_id: the server; None in direct messages.
        reachable: the bot can also edit the message without the token, because it is a member of
            the server or the message is in its own direct messages.
        private: only the person sees the message.
        spoiler: the pictures are hidden until they are clicked.
        preview: previews are shown during the job.
        locale: the language of the message.
        file_limit_bytes: the size limit of one attached file.
        of: the picture that is varied, as job id and index.
        credit: the button that the job came from; None for a command.
        comparison: the id of the comparison that the message shows, whose first job this is.
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
    comparison: str | None = None

    @property
    def has_token(self) -> bool:
        """Return True if the interaction's token is still valid."""
        return time.time() < self.token_until - _TOKEN_MARGIN_S

    @property
    def bot_may_edit(self) -> bool:
        """Return True if the bot can edit the message without the token; False if private."""
        return self.reachable and not self.private

    def job_ids(self, job_id: str, count: int) -> list[str]:
        """Return the ids of the jobs whose outcome the message shows.

        Args:
            job_id: of the first one.
            count: of the entries of a comparison.
        """
        if self.comparison is None:
            return [job_id]
        return [comparison_jobs.job_id(self.comparison, entry) for entry in range(count)]

    def to_state(self) -> dict[str, Any]:
        """Return the client state of a job before its outcome is delivered."""
        body = asdict(self) | {"of": list(self.of) if self.of else None}
        return {"inbox": inbox_of(self.application_id), "address": body}

    def delivered_state(self) -> dict[str, Any]:
        """Return the client state after delivery: without the inbox and without the token."""
        kept = ("channel_id", "message_id", "guild_id", "spoiler", "of", "credit", "comparison")
        body = asdict(self)
        return {"delivered": {name: body[name] for name in kept}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self | None:
        """Read a job's client state; None if the outcome is delivered or the form is unknown."""
        body = state.get("address")
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not isinstance(body, dict) or not needed <= body.keys():
            return None
        values = {field.name: body[field.name] for field in fields(cls) if field.name in body}
        read = {"of": _picture(body.get("of")), "credit": Credit.from_state(body.get("credit"))}
        return cls(**values | read)


def presentation_of(state: Mapping[str, Any]) -> Presentation:
    """Return how a job's pictures are shown, from its client state before or after delivery."""
    kept = state.get("delivered") or state.get("address") or {}
    return Presentation(
        bool(kept.get("spoiler")),
        _picture(kept.get("of")),
        Credit.from_state(kept.get("credit")),
        kept.get("comparison") or None,
    )


def _picture(value: Any) -> tuple[str, int] | None:
    try:
        return (str(value[0]), int(value[1])) if value else None
    except (TypeError, ValueError, LookupError):
        return None


def inbox_of(application_id: int) -> str:
    """Return the name of an application's inbox; several bots may share a service."""
    return f"discord.{application_id}"
