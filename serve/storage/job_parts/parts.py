"""The parts of a job that waits for its client; each part has a workflow of its own.

The first part ends where the job waits. Each redo adds a part that ends there, too. The last part
finishes the images that the client chooses.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, null

from serve.storage.schema.tables import jobs

FIRST: Final = ""
CONTINUED: Final = "continue"
"""DBOS records the names of parts with workflows; they never change."""
_REDO: Final = "redo-"


def part_of(*, is_continued: bool, redos: int) -> str:
    """Return the name of the part that a job is in.

    Args:
        is_continued: the client has chosen the images to be finished.
        redos: how often the client had compositions made anew.
    """
    if is_continued:
        return CONTINUED
    return f"{_REDO}{redos}" if redos else FIRST


def stored_part(choice: object, redos: list[Any] | None) -> str:
    """Return the name of the part that a job is in, by these columns of it."""
    return part_of(is_continued=choice is not None, redos=len(redos or ()))


def is_redo(part: str) -> bool:
    """Return True if compositions are made anew in a part."""
    return part.startswith(_REDO)


def run_id(job_id: str, part: str) -> str:
    """Return the id of the workflow that runs a part of a job."""
    return f"{job_id}-{part}" if part else job_id


def job_of_run(run_id: str) -> tuple[str, str]:
    """Return a job's id and the part, from what :func:`run_id` returned."""
    job_id, _, part = run_id.partition("-")
    return job_id, part


def is_part(part: str) -> ColumnElement[bool]:
    """Return the condition that a job is in a part."""
    is_first: ColumnElement[bool] = jobs.c.choice.is_(null())
    if part == CONTINUED:
        return ~is_first
    redos = func.coalesce(func.json_array_length(jobs.c.redos), 0)
    return and_(is_first, redos == int(part.removeprefix(_REDO) or 0))
