"""Every error this product raises on purpose.

    CascadeError
    |-- InvalidRequest          invalid_value            a field is out of its range
    |-- Unsupported             unsupported_combination  each field is fine, together they are not
    |-- Unauthorized            unauthorized             no API key, or not a valid one
    |-- Forbidden               forbidden                the key may not do this
    |   `-- FourEyes            four_eyes                another person has to do this
    |-- NotFound                not_found
    |   `-- ModelNotFound       model_not_found          OpenAI's name for it
    |-- NotAcceptable           not_acceptable           no answer that the client accepts
    |-- Gone                    gone                     it existed and was deleted
    |-- Conflict                conflict
    |   |-- IdempotencyMismatch idempotency_mismatch     same id or key, another body
    |   |-- AssetConflict       asset_conflict           the asset has another state or version
    |   |-- AssetProtected      asset_protected          its state forbids the deletion
    |   `-- AssetDamaged        asset_damaged            its file is not the one that was submitted
    |-- RecordNewer             record_newer             a later release stored it
    |-- Cancelled               cancelled
    |-- WireError               wire_invalid             bytes that are no hand-off
    |   `-- HandoffInvalid      handoff_invalid          well-formed, but breaks an invariant
    |-- ContentRefused          moderation_blocked       a checker refused it; OpenAI's name for it
    |-- ModerationFailed        moderation_failed        retryable: a checker gave no answer
    |-- ProvenanceFailed        provenance_failed        retryable: a picture could not be signed
    |-- ModelMismatch           model_mismatch           a latent made by other weights
    |-- ModelUnavailable        model_unavailable        weights missing, unreadable or wrong
    |-- NonFiniteLatent         non_finite_latent        the model answered NaN or infinity
    |-- OutOfMemory             out_of_memory            retryable
    |-- StageLost               stage_lost               retryable: the replica died
    |-- NotReady                not_ready                retryable
    |-- DeadlineExceeded        deadline_exceeded        the job was not done in time
    |-- CannotBeServed          cannot_be_served         no replica can run it
    |-- WaitTooLong             timeout                  the job goes on, the wait for it ended
    |-- RateLimited             rate_limited             retryable, says when
    |-- SettingsInvalid         settings_invalid
    |-- DatabaseNewer           database_newer           a later release migrated the database
    |-- DatabaseOlder           database_older           made before the first release
    `-- Internal                internal                 anything else; details stay in the log

Errors cross process borders by pickle and as JSON, so every argument is positional and kept in
``args``, and ``code`` is stable: clients may rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class CascadeError(Exception):
    """Base of all errors; ``str`` of it is safe to show to a client.

    Args:
        message: one sentence for the client.
        field: the request field at fault, if there is one.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message, field)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return self.message

    @property
    def for_operator(self) -> str:
        """The message, with the reason that only the operator may read if there is one."""
        return self.message

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form: code, message and, if known, field."""
        body = {"code": self.code, "message": self.message}
        return body | {"field": self.field} if self.field else body


class InvalidRequest(CascadeError):
    """A field of the request is out of its allowed range."""

    code = "invalid_value"


class Unsupported(CascadeError):
    """The fields are valid one by one but not together."""

    code = "unsupported_combination"


class Unauthorized(CascadeError):
    """No API key came with the request, or none that is valid."""

    code = "unauthorized"


class Forbidden(CascadeError):
    """The API key is valid but may not do this."""

    code = "forbidden"


class FourEyes(Forbidden):
    """The actor made or submitted the asset: another person has to approve it."""

    code = "four_eyes"


class CrossOrigin(CascadeError):
    """A browser sent the request for a page of another site."""

    code = "cross_origin"


class NotFound(CascadeError):
    """No such job, image or latent."""

    code = "not_found"


class ModelNotFound(NotFound):
    """The service has no such model, or the caller may not use it."""

    code = "model_not_found"


class NotAcceptable(CascadeError):
    """The answer cannot have the form that the request accepts."""

    code = "not_acceptable"


class Gone(CascadeError):
    """It existed and was deleted."""

    code = "gone"


class Conflict(CascadeError):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class IdempotencyMismatch(Conflict):
    """The id or Idempotency-Key was used for another request before."""

    code = "idempotency_mismatch"


class AssetConflict(Conflict):
    """The asset has another state or version than the action needs."""

    code = "asset_conflict"


class AssetProtected(Conflict):
    """The picture is an asset whose state forbids its deletion."""

    code = "asset_protected"


class AssetDamaged(Conflict):
    """The file of an asset is not the one that was submitted."""

    code = "asset_damaged"


class RecordNewer(CascadeError):
    """A later release stored this job or latent; the release that runs now cannot use it."""

    code = "record_newer"


class Cancelled(CascadeError):
    """The work was cancelled."""

    code = "cancelled"


class WireError(CascadeError):
    """Bytes that are not a message of ours: truncated, oversize, nested, wrong type or version."""

    code = "wire_invalid"


class HandoffInvalid(WireError):
    """A hand-off whose shape, dtype or values break its invariants."""

    code = "handoff_invalid"


class ContentRefused(CascadeError):
    """A checker refused the prompt, an upload or the composition; the message names its rule."""

    code = "moderation_blocked"


class ModerationFailed(CascadeError):
    """A checker failed or took too long; what was not checked is not made."""

    code = "moderation_failed"
    retryable = True


class ProvenanceFailed(CascadeError):
    """A picture could not be signed; where pictures are signed, none is kept or sent unsigned."""

    code = "provenance_failed"
    retryable = True


class ModelMismatch(CascadeError):
    """A latent made by other weights than those loaded."""

    code = "model_mismatch"


class ModelUnavailable(CascadeError):
    """Weights or configuration are missing, unreadable or not what they should be."""

    code = "model_unavailable"


class NonFiniteLatent(CascadeError):
    """The model produced NaN or infinity; never shown as a black picture."""

    code = "non_finite_latent"


class OutOfMemory(CascadeError):
    """The device ran out of memory."""

    code = "out_of_memory"
    retryable = True


class StageLost(CascadeError):
    """The replica died or became unreachable while it worked."""

    code = "stage_lost"
    retryable = True


class NotReady(CascadeError):
    """The service is starting, draining or has no replica for a stage, or a store does not answer.

    Args:
        message: one sentence for the client.
        field: the request field at fault, if there is one.
        reason: what the database, the disk or the cluster said. It may name hosts and paths, so
            only the operator reads it: in the log, on the command line, as an admin.
    """

    code = "not_ready"
    retryable = True

    def __init__(self, message: str, field: str | None = None, reason: str = "") -> None:
        super().__init__(message, field)
        self.args = (message, field, reason)
        self.reason = reason

    @property
    def for_operator(self) -> str:
        """The message and the reason."""
        return f"{self.message}: {self.reason}" if self.reason else self.message


class RateLimited(CascadeError):
    """Too many requests in too short a time.

    Args:
        message: one sentence for the client.
        field: the request field at fault, if there is one.
        retry_after_s: seconds until the next request is accepted.
    """

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, field: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, field)
        self.args = (message, field, retry_after_s)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(CascadeError):
    """The job was not done by its deadline, and was given up."""

    code = "deadline_exceeded"


class CannotBeServed(CascadeError):
    """No replica of a stage can run the job: it is too large for them, or they do not start."""

    code = "cannot_be_served"


class WaitTooLong(CascadeError):
    """The job was not done in the time that a request may take; it goes on."""

    code = "timeout"


class SettingsInvalid(CascadeError):
    """One or more settings are wrong; the message lists them all."""

    code = "settings_invalid"


class DatabaseNewer(CascadeError):
    """The database's schema is one of a later release."""

    code = "database_newer"


class DatabaseOlder(CascadeError):
    """The database's schema is one from before the first release."""

    code = "database_older"


class Internal(CascadeError):
    """An unexpected failure; the log has the details under the request id."""

    code = "internal"


def all_errors() -> dict[str, type[CascadeError]]:
    """Return every error class by its code."""
    found: dict[str, type[CascadeError]] = {}
    pending: list[type[CascadeError]] = list(CascadeError.__subclasses__())
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found


def from_dict(body: Mapping[str, object]) -> CascadeError:
    """Rebuild an error from :meth:`CascadeError.to_dict`.

    Unknown values and values of the wrong type are replaced (an unknown code by Internal), because
    the body may come from another version of this service.
    """
    code, message, field = (body.get(name) for name in ("code", "message", "field"))
    cls = all_errors().get(code, Internal) if isinstance(code, str) else Internal
    return cls(
        message if isinstance(message, str) else "unknown error",
        field if isinstance(field, str) else None,
    )
