"""Recognises a repeated request by its job id or Idempotency-Key, and by its body."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ulid import ULID

from cascade_core.errors import InvalidRequest
from serve.storage.records import JobIdentity, JobOwner, utc_now

MAX_CLOCK_DIFFERENCE_S = 3600.0
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")


def make_identity(
    body: dict[str, Any], owner: JobOwner, job_id: str | None = None, key: str = ""
) -> JobIdentity:
    """Return the identity by which a repeated request is recognised.

    Args:
        body: the whole request, as JSON values.
        owner: of the job; two API keys, or two end users of one, may use the same Idempotency-Key.
        job_id: the client's choice; None: a new id.
        key: the header ``Idempotency-Key``; empty: none.

    Raises:
        InvalidRequest: the id is no ULID of now, or the key is not 1 to 255 printable
            ASCII characters.
    """
    if job_id is not None:
        _check_id(job_id)
    if key and not _KEY.fullmatch(key):
        message = "Idempotency-Key must be 1 to 255 printable ASCII characters"
        raise InvalidRequest(message, "Idempotency-Key")
    return JobIdentity(
        job_id=job_id or str(ULID()),
        key=_digest([*_owner_parts(owner), key]) if key else None,
        body=_digest([owner.key_id, body]),
    )


def _owner_parts(owner: JobOwner) -> list[str | None]:
    return [owner.key_id] if owner.user is None else [owner.key_id, owner.user]


def _check_id(job_id: str) -> None:
    if not _ULID.fullmatch(job_id):
        raise InvalidRequest("id must be a ULID: 26 characters of Crockford's base 32", "id")
    # Jobs are listed in the order of their ids, which begin with a time. That time may be beyond
    # what a datetime can hold.
    if abs(ULID.from_str(job_id).timestamp - utc_now().timestamp()) > MAX_CLOCK_DIFFERENCE_S:
        raise InvalidRequest("id must be a ULID made within an hour of now", "id")


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
