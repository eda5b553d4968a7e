"""Turns every error into one sentence for people.

The first rule that applies decides:

1. A user's mistake (:class:`UserError`): the sentence of its key, without a reference.
2. An invalid value of a known field: the field's name and its range, multiple or length; a generic
   sentence about the field if the message names none of them.
3. Another invalid value: "these values cannot be combined".
4. A rate limit: the sentence of its code, with the seconds to wait.
5. Another error of the service: the sentence of its code in :data:`MESSAGE_KEYS`.
6. Any other exception: "something went wrong on our side".

Rules 4 to 6 add the reference that the logs have, unless people can fix the error themselves
(:func:`is_fault`). Before this list, :func:`bot.commands.option_checks.user_error` turns options
that do not fit a command into a :class:`UserError`. An expired interaction gets no sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.text.catalog import Translator
from cascade_core.errors import CascadeError, RateLimited


@dataclass(frozen=True, slots=True)
class UserError(Exception):
    """A mistake of the person, or a request that a rule forbids.

    Attributes:
        key: the sentence's key in the catalog.
        values: the values in the sentence.
    """

    key: str
    values: tuple[tuple[str, object], ...] = ()

    @classmethod
    def because(cls, key: str, **values: object) -> UserError:
        """Build from a key of the table ``user_error`` and the sentence's values."""
        return cls(f"user_error.{key}", tuple(values.items()))


MESSAGE_KEYS = {
    "invalid_value": "error.invalid",
    "unsupported_combination": "error.unsupported",
    "unauthorized": "error.setup",
    "forbidden": "error.setup",
    "cross_origin": "error.setup",
    "not_found": "error.not_found",
    "model_not_found": "error.conflict",
    "not_acceptable": "error.internal",
    "gone": "error.gone",
    "four_eyes": "error.four_eyes",
    "conflict": "error.conflict",
    "asset_conflict": "error.asset_conflict",
    "asset_protected": "error.asset_protected",
    "asset_damaged": "error.internal",
    "idempotency_mismatch": "error.conflict",
    "record_newer": "error.setup",
    "cancelled": "error.cancelled",
    "wire_invalid": "error.gone",
    "handoff_invalid": "error.gone",
    "moderation_blocked": "error.blocked",
    "moderation_failed": "error.not_ready",
    "provenance_failed": "error.not_ready",
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
    "database_older": "error.setup",
    "internal": "error.internal",
}
"""The catalog key of the sentence for each code of `cascade_core.errors`."""


_USER_CODES = (
    "invalid_value",
    "unsupported_combination",
    "not_found",
    "model_not_found",
    "gone",
    "four_eyes",
    "conflict",
    "asset_conflict",
    "asset_protected",
    "idempotency_mismatch",
    "cancelled",
    "moderation_blocked",
    "model_mismatch",
    "rate_limited",
)
"""Codes of errors that people can fix themselves."""
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
"""Fields of a request that have a name for people."""
_RANGES = (
    ("error.range", re.compile(r"between (?P<lowest>[\d.]+) and (?P<highest>[\d.]+)$")),
    ("error.multiple", re.compile(r"a multiple of (?P<step>\d+),")),
    ("error.length", re.compile(r"at most (?P<count>\d+) characters,")),
)
"""Sentence key and pattern of each range that a service's error message may name."""


def is_fault(error: BaseException) -> bool:
    """Return True if the service or the bot caused an error, not the person's request."""
    if isinstance(error, UserError):
        return False
    return not isinstance(error, CascadeError) or error.code not in _USER_CODES


def error_message(error: BaseException, translate: Translator, reference: str) -> str:
    """Return the message for a person about an error; see the list at the head of this module.

    Args:
        error: what went wrong.
        translate: translates into the person's language.
        reference: the id that the logs have; shown only if :func:`is_fault`.
    """
    if isinstance(error, UserError):
        return translate(error.key, **dict(error.values))
    if isinstance(error, CascadeError):
        message = _service_error_message(error, translate)
    else:
        message = translate("error.internal")
    if not reference or not is_fault(error):
        return message
    return f"{message}\n-# {translate('error.reference', reference=reference)}"


def is_source_gone(error: CascadeError) -> bool:
    """Return True if an error means that a picture's source was deleted or is damaged."""
    return MESSAGE_KEYS.get(error.code) == "error.gone"


def _service_error_message(error: CascadeError, translate: Translator) -> str:
    key = MESSAGE_KEYS.get(error.code, "error.internal")
    if key == "error.invalid":
        return _invalid_value_message(error, translate)
    if isinstance(error, RateLimited):
        return translate(key, seconds=max(1, round(error.retry_after_s)))
    return translate(key)


def _invalid_value_message(error: CascadeError, translate: Translator) -> str:
    """Return the message about an invalid value, with the field's name and range."""
    if error.field not in FIELDS:
        return translate("error.unsupported")
    field = translate(f"field.{error.field}")
    for key, pattern in _RANGES:
        if found := pattern.search(error.message):
            values = {name: int(x) if x.isdecimal() else x for name, x in found.groupdict().items()}
            return translate(key, field=field, **values)
    return translate("error.invalid", field=field)
