"""Admission of new jobs: the limits of open jobs, and the deadline and position of each job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from cascade_core.errors import RateLimited
from cascade_core.job_states import OPEN_STATES
from serve.storage.deadline_store import time_allowed_s
from serve.storage.estimates import estimate_queue, recent_seconds_per_work
from serve.storage.job_queries import owned_by
from serve.storage.records import JobOwner, NewJob, OpenLimits
from serve.storage.schema.tables import database_now, jobs

UNKNOWN_JOB_S: Final = 5.0
"""Assumed run time of a job before anything was measured."""


def check_limits(connection: Connection, owner: JobOwner, limits: OpenLimits) -> None:
    """Refuse a job if too many jobs are open.

    Raises:
        RateLimited: says after how many seconds one of the open jobs is probably done.
    """
    _check_limit(connection, limits.per_user, "you have", *owned_by(owner))
    _check_limit(connection, limits.total, "there are")


def admit(connection: Connection, job: NewJob, min_deadline_s: float) -> dict[str, Any]:
    """Give a job that was just recorded its deadline; returns its position and estimate."""
    estimate = estimate_queue(connection)
    eta_s = estimate.queued_eta_s(job.id, job.work)
    allowed = timedelta(seconds=time_allowed_s(eta_s, min_deadline_s))
    deadline_at = database_now(connection) + allowed
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(deadline_at=deadline_at))
    shown_s = None if estimate.waits_for_start(job.route) else eta_s
    return {"position": estimate.positions[job.id].position, "eta_s": shown_s}


def _check_limit(connection: Connection, limit: int, whose: str, *conditions: Any) -> None:
    query = select(func.count(), func.avg(jobs.c.work))
    count, work = connection.execute(query.where(jobs.c.state.in_(OPEN_STATES), *conditions)).one()
    if count < limit:
        return
    seconds_per_work = recent_seconds_per_work(connection)
    job_s = UNKNOWN_JOB_S if seconds_per_work is None else seconds_per_work * work
    message = f"{whose} {count} jobs open, and {limit} are allowed; try again later"
    raise RateLimited(message, retry_after_s=max(1.0, job_s))
