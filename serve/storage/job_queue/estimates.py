"""Estimates of when open jobs are done, from the queue and from recent run times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Final

from sqlalchemy import Connection, delete, or_, select

from cascade_core.errors import DeadlineExceeded
from cascade_core.job_states import OPEN_STATES
from serve.storage.connections import Connections
from serve.storage.job_queue.positions import JobInQueue, JobOrder, QueuePosition
from serve.storage.records import JobOwner, utc_now
from serve.storage.schema.tables import jobs, scaled_to_zero_stages, upsert

KEPT_FROM_JOBS: Final = 200
"""With fewer open jobs, reading them costs less than the rest of accepting or showing one."""
KEPT_S: Final = 1.0
"""Age from which a kept estimate is read anew. At twice this age no thread uses it any longer."""
_MEAN_OVER_JOBS = 20


@dataclass(frozen=True, slots=True)
class QueueEstimate:
    """What the time that open jobs still take is estimated from.

    Attributes:
        order: of the open jobs.
        running: how many jobs run at once.
        paces: by model, the recent run time of its jobs by their work; under None, that of all
            models' jobs. None if no job has run yet.
        scaled_to_zero: stages without a replica. The time until one has started is unknown.
    """

    order: JobOrder
    running: int
    paces: dict[str | None, float | None]
    scaled_to_zero: AbstractSet[str]

    def seconds(self, work: float, model: str | None) -> float | None:
        """Return the seconds that work probably takes a model; None if that is unknown."""
        pace = self.paces.get(model)
        pace = self.paces.get(None) if pace is None else pace
        return None if pace is None else work * pace

    def queued_eta_s(self, place: QueuePosition, work: float, model: str | None) -> float | None:
        """Return the seconds until a queued job is probably done; None if that is unknown."""
        own_s = self.seconds(work, model)
        if own_s is None:
            return None
        return round(place.seconds_ahead / max(1, self.running) + own_s, 2)

    def running_eta_s(self, started_at: datetime, work: float, model: str | None) -> float | None:
        """Return the seconds until a running job is probably done; None if that is unknown."""
        own_s = self.seconds(work, model)
        if own_s is None:
            return None
        running_s: float = (utc_now() - started_at).total_seconds()
        return round(max(0.0, own_s - running_s), 2)

    def waits_for_start(self, stages: Iterable[str]) -> bool:
        """Return True if one of the stages has no replica yet."""
        return not self.scaled_to_zero.isdisjoint(stages)


class QueueEstimates:
    """Reads estimates of the queue for one process; several threads may use it.

    While many jobs are open, an estimate is kept for a second, so that accepting a job and showing
    one cost the same however many are open. Meanwhile it misses what other processes accept, start
    and end.

    Args:
        clock: seconds of this process that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: tuple[QueueEstimate, float] | None = None
        self._renewing = Lock()

    def read(self, connection: Connection) -> QueueEstimate:
        """Return an estimate; one thread at a time reads a new one in place of a kept one.

        The others use the kept one meanwhile, unless it is too old.
        """
        kept = self._kept
        if kept is None:
            return self._read(connection)
        estimate, until_s = kept
        late_s = self._clock() - until_s
        if late_s < 0:
            return estimate
        if self._renewing.acquire(blocking=False):
            try:
                return self._read(connection)
            finally:
                self._renewing.release()
        return estimate if late_s < KEPT_S else self._read(connection)

    def read_for(self, connection: Connection, model: str | None) -> QueueEstimate:
        """Return an estimate as :meth:`read`, with the pace of a model that has no open job."""
        estimate = self.read(connection)
        if model not in estimate.paces:  # two threads may read it twice, which does no harm
            estimate.paces[model] = _recent_pace(connection, model)
        return estimate

    def seconds_per_work(self, connection: Connection) -> float | None:
        """Return the recent run time of any job by its work; None if no job has run yet."""
        if self._kept is None:
            return _recent_pace(connection)
        return self.read(connection).paces[None]

    def add(self, job: JobInQueue, model: str | None) -> None:
        """Add a job that this process has accepted to the estimate that is kept, if any."""
        kept = self._kept
        if kept is not None:
            seconds = kept[0].seconds(job.work, model) or 0.0
            kept[0].order.add(job._replace(seconds=seconds))

    def _read(self, connection: Connection) -> QueueEstimate:
        until_s = self._clock() + KEPT_S
        estimate = _read_estimate(connection)
        self._kept = (estimate, until_s) if len(estimate.order) >= KEPT_FROM_JOBS else None
        return estimate


class ScaledToZeroStages:
    """The stages without a replica; every method is one transaction and blocks.

    The Jobs process sees the replicas. The Gateway process answers with estimates. Both reach the
    database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def record(self, stages: AbstractSet[str]) -> None:
        """Record the stages that have no replica now.

        Raises:
            NotReady: the database does not answer.
        """
        with self._connections.writing() as connection:
            connection.execute(delete(scaled_to_zero_stages))
            for name in sorted(stages):  # another process may write the same in this moment
                upsert(connection, scaled_to_zero_stages, {"name": name})


def _read_estimate(connection: Connection) -> QueueEstimate:
    """Read all open jobs, the stages without a replica and the last jobs that succeeded."""
    names = (jobs.c.id, jobs.c.owner, jobs.c.user, jobs.c.work, jobs.c.state, jobs.c.model)
    rows = connection.execute(select(*names).where(jobs.c.state.in_(OPEN_STATES))).all()
    models = {row.model for row in rows} | {None}
    paces = {model: _recent_pace(connection, model) for model in models}
    scaled_to_zero = frozenset(connection.execute(select(scaled_to_zero_stages.c.name)).scalars())
    running = sum(row.state == "running" for row in rows)
    estimate = QueueEstimate(JobOrder(()), running, paces, scaled_to_zero)
    open_jobs = [
        JobInQueue(
            row.id,
            JobOwner(row.owner, row.user).queue_user,
            row.work,
            row.state == "running",
            estimate.seconds(row.work, row.model) or 0.0,
        )
        for row in rows
    ]
    return replace(estimate, order=JobOrder(open_jobs))


def _recent_pace(connection: Connection, model: str | None = None) -> float | None:
    """Return the seconds by work of the last jobs of a model, or of all; None if none has run."""
    # Jobs that exceeded their deadline took at least as long. Without them, a service that became
    # too slow for its own deadlines would never learn it.
    was_too_slow = jobs.c.error["code"].as_string() == DeadlineExceeded.code
    # A job that ended before it started (the clock was set back, or an archive says so) would make
    # the pace negative and put the deadlines of new jobs into the past.
    is_known = jobs.c.started_at <= jobs.c.finished_at
    query = select(jobs.c.started_at, jobs.c.finished_at, jobs.c.work).where(
        or_(jobs.c.state == "succeeded", was_too_slow), jobs.c.work > 0, is_known
    )
    if model is not None:
        query = query.where(jobs.c.model == model)
    latest = list(connection.execute(query.order_by(jobs.c.id.desc()).limit(_MEAN_OVER_JOBS)))
    if not latest:
        return None
    seconds = sum((end - start).total_seconds() for start, end, _ in latest)
    return float(seconds / sum(work for _, _, work in latest))
