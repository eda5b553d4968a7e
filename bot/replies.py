"""Every failure as one kind sentence with the reference under which the logs have it."""

from __future__ import annotations

from dataclasses import dataclass

from bot.markdown import escape
from bot.texts import Voice
from cascade_core.errors import CascadeError, InvalidRequest, RateLimited


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """The bot itself says no.

    Attributes:
        key: of the sentence.
        values: what goes into it.
    """

    key: str
    values: tuple[tuple[str, object], ...] = ()

    @classmethod
    def because(cls, key: str, **values: object) -> Refusal:
        """Make one from a sentence's key and values."""
        return cls(f"refused.{key}", tuple(values.items()))


SENTENCES = {
    "invalid_value": "error.invalid",
    "unsupported_combination": "error.invalid",
    "unauthorized": "error.setup",
    "forbidden": "error.setup",
    "not_found": "error.not_found",
    "gone": "error.gone",
    "conflict": "error.conflict",
    "idempotency_mismatch": "error.conflict",
    "cancelled": "error.cancelled",
    "wire_invalid": "error.gone",
    "handoff_invalid": "error.gone",
    "moderation_blocked": "error.blocked",
    "moderation_failed": "error.not_ready",
    "model_mismatch": "error.model_mismatch",
    "model_unavailable": "error.not_ready",
    "non_finite_latent": "error.internal",
    "out_of_memory": "error.busy",
    "stage_lost": "error.not_ready",
    "not_ready": "error.not_ready",
    "deadline_exceeded": "error.busy",
    "cannot_be_served": "error.unserved",
    "timeout": "error.not_ready",
    "rate_limited": "error.rate_limited",
    "settings_invalid": "error.setup",
    "database_newer": "error.setup",
    "internal": "error.internal",
}
"""The sentence of each code of `cascade_core.errors`."""


def sentence(error: BaseException, voice: Voice, reference: str) -> str:
    """Return what to tell a person about a failure; a refusal needs no reference."""
    if isinstance(error, Refusal):
        return voice(error.key, **dict(error.values))
    if not isinstance(error, CascadeError):
        return _with_reference(voice("error.internal"), voice, reference)
    values: dict[str, object] = {}
    if isinstance(error, RateLimited):
        values["seconds"] = max(1, round(error.retry_after_s))
    if isinstance(error, InvalidRequest):
        values["detail"] = escape(error.message)
    key = SENTENCES.get(error.code, "error.internal")
    if key == "error.invalid" and "detail" not in values:
        values["detail"] = escape(error.message)
    return _with_reference(voice(key, **values), voice, reference)


def means_gone(error: CascadeError) -> bool:
    """Return True if an error means that what a picture was to be made from is gone."""
    return SENTENCES.get(error.code) == "error.gone"


def _with_reference(text: str, voice: Voice, reference: str) -> str:
    return f"{text}\n-# {voice('error.reference', reference=reference)}" if reference else text
