"""Every failure as one kind sentence; our own faults with the reference that the logs have."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.text.catalog import Translator
from cascade_core.errors import CascadeError, RateLimited


@dataclass(frozen=True, slots=True)
class UserError(Exception):
    """The bot itself says no.

    Attributes:
        key: of the sentence.
        values: what goes into it.
    """

    key: str
    values: tuple[tuple[str, object], ...] = ()

    @classmethod
    def because(cls, key: str, **values: object) -> UserError:
        """Make one from a sentence's key and values."""
        return cls(f"user_error.{key}", tuple(values.items()))


MESSAGE_KEYS = {
    "invalid_value": "error.invalid",
    "unsupported_combination": "error.unsupported",
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


_USER_CODES = (
    "invalid_value",
    "unsupported_combination",
    "not_found",
    "gone",
    "conflict",
    "idempotency_mismatch",
    "cancelled",
    "moderation_blocked",
    "model_mismatch",
    "rate_limited",
)
"""Codes of what people can mend themselves."""
FIELDS = (
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "n",
    "seed",
    "steps",
    "guidance_scale",
    "decoder_seed",
    "decoder_steps",
    "decoder_guidance_scale",
)
"""Fields of a request that people know by a name."""
_RANGES = (
    ("error.range", re.compile(r"between (?P<lowest>[\d.]+) and (?P<highest>[\d.]+)$")),
    ("error.multiple", re.compile(r"a multiple of (?P<step>\d+),")),
    ("error.length", re.compile(r"at most (?P<count>\d+) characters,")),
)
"""How :mod:`cascade_core.request` words the range of a field."""


def is_fault(error: BaseException) -> bool:
    """Return True if a failure is the service's or the bot's, not of what was asked for."""
    if isinstance(error, UserError):
        return False
    return not isinstance(error, CascadeError) or error.code not in _USER_CODES


def error_message(error: BaseException, translate: Translator, reference: str) -> str:
    """Return what to tell a person about a failure; only a fault of ours has a reference."""
    if isinstance(error, UserError):
        return translate(error.key, **dict(error.values))
    told = (
        _service_error_message(error, translate)
        if isinstance(error, CascadeError)
        else translate("error.internal")
    )
    if not reference or not is_fault(error):
        return told
    return f"{told}\n-# {translate('error.reference', reference=reference)}"


def is_source_gone(error: CascadeError) -> bool:
    """Return True if an error means that what a picture was to be made from is gone."""
    return MESSAGE_KEYS.get(error.code) == "error.gone"


def _service_error_message(error: CascadeError, translate: Translator) -> str:
    key = MESSAGE_KEYS.get(error.code, "error.internal")
    if key == "error.invalid":
        return _invalid_value_message(error, translate)
    if isinstance(error, RateLimited):
        return translate(key, seconds=max(1, round(error.retry_after_s)))
    return translate(key)


def _invalid_value_message(error: CascadeError, translate: Translator) -> str:
    """Return what is wrong with a value, with the field's name and range in the language."""
    if error.field not in FIELDS:
        return translate("error.unsupported")
    field = translate(f"field.{error.field}")
    for key, pattern in _RANGES:
        if found := pattern.search(error.message):
            values = {name: int(x) if x.isdecimal() else x for name, x in found.groupdict().items()}
            return translate(key, field=field, **values)
    return translate("error.invalid", field=field)
