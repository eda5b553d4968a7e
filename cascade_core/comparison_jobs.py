"""The ids of a comparison's jobs, which follow from its own."""

from __future__ import annotations

from ulid import ULID


def job_id(comparison_id: str, entry: int) -> str:
    """Return the id of the job of an entry: a ULID of the comparison's time.

    Raises:
        ValueError: the comparison's id is no ULID.
    """
    return _moved(comparison_id, 1 + entry)


def comparison_id(job_id: str, entry: int) -> str:
    """Return the id of the comparison that a job is an entry of, if it is of one.

    Raises:
        ValueError: the job's id is no ULID.
    """
    return _moved(job_id, -1 - entry)


def _moved(ulid: str, by: int) -> str:
    return str(ULID.from_int((int(ULID.from_str(ulid)) + by) % 2**128))
