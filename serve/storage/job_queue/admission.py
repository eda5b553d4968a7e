"""Admission of new and continued jobs: the limits of open jobs, their deadlines and positions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

from sqlalchemy import ColumnElement, Connection, func, select

from cascade_core.errors import RateLimited
from cascade_core.job_states import OPEN_STATES
from cascade_core.operations.fields import MAX_IMAGES
from serve.storage.connections import hold_lock
from serve.storage.job_queue.deadline_store import time_allowed_s
from serve.storage.job_queue.estimates import QueueEstimates
from serve.storage.job_queue.positions import JobInQueue
from serve.storage.records import JobOwner, OpenLimits
from serve.storage.schema.tables import database_now, images, jobs, owned_by

UNKNOWN_JOB_S: Final = 5.0
"""Assumed run time of a job before anything was measured."""
REFUSING_S: Final = 10.0
"""A client that floods the service sends its next request sooner."""

_ADMISSION_LOCK = 0x4341_5343_0003


class AdmittedJob(Protocol):
    """A job that is to be queued: a new one or a continued one.

    Attributes:
        work: of all its images at the stages that they pass.
        route: the names of these stages, in order.
        model: the id of its model; None for a job of an earlier release.
    """

    @property
    def id(self) -> str: ...  # noqa: D102

    @property
    def owner(self) -> JobOwner: ...  # noqa: D102

    @property
    def work(self) -> float: ...  # noqa: D102

    @property
    def route(self) -> list[str]: ...  # noqa: D102

    @property
    def model(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Admitted:
    """The times of a new job by the database's clock, and where it stands.

    Attributes:
        position: how many open jobs are ahead of it.
        eta_s: seconds until it is probably done; None if unknown.
    """

    created_at: datetime
    deadline_at: datetime
    position: int
    eta_s: float | None


class Admission:
    """Admits the new jobs of one process; several threads may use it.

    Args:
        estimates: of the queue.
        clock: seconds of this process that only grow.
    """

    def __init__(
        self, estimates: QueueEstimates, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._estimates = estimates
        self._clock = clock
        self._refused_at_s = -math.inf

    @property
    def has_refused_lately(self) -> bool:
        """True if a job was refused in the last seconds, so that the next one may be, too."""
        return self._clock() - self._refused_at_s < REFUSING_S

    def check_limits(self, connection: Connection, job: AdmittedJob, limits: OpenLimits) -> None:
        """Refuse a job if too many others are open.

        An open series counts once for every ``MAX_IMAGES`` of its images, a new one is admitted
        while there is one place.

        Raises:
            RateLimited: says after how many seconds one of the open jobs is probably done.
        """
        others = jobs.c.state.in_(OPEN_STATES), jobs.c.id != job.id
        of_user = *others, *owned_by(job.owner.key_id, job.owner.user)
        counts = select(_count(of_user), _count(others))
        user_count, total = connection.execute(counts).one()
        if user_count >= limits.per_user:
            self._refuse(connection, f"you have {user_count}", limits.per_user, *of_user)
        if total >= limits.total:
            self._refuse(connection, f"there are {total}", limits.total, *others)

    def admit(self, connection: Connection, job: AdmittedJob, min_deadline_s: float) -> Admitted:
        """Return the deadline and the position that a job has if it is accepted now."""
        estimate = self._estimates.read_for(connection, job.model)
        place = estimate.order.place(_queued(job))
        eta_s = estimate.queued_eta_s(place, job.work, job.model)
        now = database_now(connection)
        deadline_at = now + timedelta(seconds=time_allowed_s(eta_s, min_deadline_s))
        shown_s = None if estimate.waits_for_start(job.route) else eta_s
        return Admitted(now, deadline_at, place.position, shown_s)

    def add(self, job: AdmittedJob) -> None:
        """Count a job as queued from now on, after its transaction."""
        self._estimates.add(_queued(job), job.model)

    def _refuse(
        self, connection: Connection, whose: str, limit: int, *which: ColumnElement[bool]
    ) -> NoReturn:
        self._refused_at_s = self._clock()
        # None if all of them have ended since they were counted.
        work = connection.execute(select(func.avg(jobs.c.work)).where(*which)).scalar() or 0.0
        seconds_per_work = self._estimates.seconds_per_work(connection)
        job_s = UNKNOWN_JOB_S if seconds_per_work is None else seconds_per_work * work
        message = f"{whose} jobs open, and {limit} are allowed; try again later"
        raise RateLimited(message, retry_after_s=max(1.0, job_s))


def lock_admission(connection: Connection) -> None:
    """Let one transaction at a time count the open jobs and commit its own.

    Otherwise two jobs could both take the last free place. The lock holds until the transaction
    ends.
    """
    hold_lock(connection, _ADMISSION_LOCK)


def _queued(job: AdmittedJob) -> JobInQueue:
    return JobInQueue(job.id, job.owner.queue_user, job.work)


def _count(conditions: Sequence[ColumnElement[bool]]) -> ColumnElement[int]:
    """Count jobs, those of many images once for every ``MAX_IMAGES`` that they begin."""
    whole = select(func.count()).select_from(jobs).where(*conditions).scalar_subquery()
    pairs = jobs.join(images, images.c.job_id == jobs.c.id)
    begins = images.c.index >= MAX_IMAGES, images.c.index % MAX_IMAGES == 0
    more = select(func.count()).select_from(pairs).where(*conditions, *begins).scalar_subquery()
    return whole + more
