"""How Discord says no, and how its client does."""

from __future__ import annotations

from enum import Enum
from typing import Any


class ClientRefusesError(Exception):
    """Discord's own client would not let a person do this; nothing was sent."""


class Problem(Enum):
    """Status, code and message of an error answer."""

    UNAUTHORIZED = (401, 0, "401: Unauthorized")
    UNKNOWN_APPLICATION = (404, 10002, "Unknown Application")
    UNKNOWN_CHANNEL = (404, 10003, "Unknown Channel")
    UNKNOWN_GUILD = (404, 10004, "Unknown Guild")
    UNKNOWN_MESSAGE = (404, 10008, "Unknown Message")
    UNKNOWN_USER = (404, 10013, "Unknown User")
    UNKNOWN_WEBHOOK = (404, 10015, "Unknown Webhook")
    UNKNOWN_INTERACTION = (404, 10062, "Unknown interaction")
    TOO_MANY_ATTACHMENTS = (
        400,
        30015,
        "Maximum number of attachments in a message reached (10)",
    )
    TOO_LARGE = (413, 40005, "Request entity too large")
    ALREADY_ACKNOWLEDGED = (400, 40060, "Interaction has already been acknowledged.")
    TOO_MANY_FOLLOWUPS = (
        400,
        40094,
        "This interaction has reached its maximum number of follow up messages",
    )
    MISSING_ACCESS = (403, 50001, "Missing Access")
    NOT_YOUR_MESSAGE = (403, 50005, "Cannot edit a message authored by another user")
    EMPTY_MESSAGE = (400, 50006, "Cannot send an empty message")
    CANNOT_SEND_TO_USER = (403, 50007, "Cannot send messages to this user")
    MISSING_PERMISSIONS = (403, 50013, "Missing Permissions")
    INVALID_TOKEN = (401, 50027, "Invalid Webhook Token")
    INVALID_FORM = (400, 50035, "Invalid Form Body")
    NOT_EMULATED = (501, 0, "The emulator has no")
    RATE_LIMITED = (429, 0, "You are being rate limited.")
    OLD_EDITS = (
        429,
        30046,
        "Maximum number of edits to messages older than 1 hour reached. Try again later",
    )


class ApiError(Exception):
    """An error answer.

    Attributes:
        body: what is sent as JSON.
        headers: what is sent beside it.
    """

    def __init__(self, problem: Problem, errors: dict[str, Any] | None = None) -> None:
        self.status, code, message = problem.value
        super().__init__(message)
        self.body: dict[str, Any] = {"message": message, "code": code}
        if errors:
            self.body["errors"] = errors
        self.headers: dict[str, str] = {}


class RateLimitedError(ApiError):
    """A 429: come back in ``retry_after_s``; the scope is user, shared or global."""

    def __init__(
        self, retry_after_s: float, scope: str = "user", problem: Problem = Problem.RATE_LIMITED
    ) -> None:
        super().__init__(problem)
        self.body |= {"retry_after": round(retry_after_s, 3), "global": scope == "global"}
        self.headers = {"Retry-After": f"{retry_after_s:.3f}", "X-RateLimit-Scope": scope}


def not_emulated(what: str) -> ApiError:
    """Return the answer to what the emulator does not know; the fixture of the tests finds it."""
    error = ApiError(Problem.NOT_EMULATED)
    error.body["message"] += f" {what}"
    return error


def form_error(path: str, message: str, code: str = "BASE_TYPE_BAD_LENGTH") -> ApiError:
    """Return the error of one field; ``path`` has a dot between its parts."""
    errors: dict[str, Any] = {"_errors": [{"code": code, "message": message}]}
    for part in reversed(path.split(".")):
        errors = {part: errors}
    return ApiError(Problem.INVALID_FORM, errors)
