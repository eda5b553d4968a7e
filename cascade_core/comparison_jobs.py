"""The ids of a comparison's jobs, which follow from its own."""

from __future__ import annotations

from ulid import ULID


def job_id(comparison_id: str, entry: int) -> str:
    """Return the id of the job of an entry: a ULID of the comparison's time.

    Raises:
        ValueError: the comparison's id is no ULID.
    """
    return str(ULID.from_int((int(ULID.from_str(comparison_id)) + 1 + entry) % 2**128))
