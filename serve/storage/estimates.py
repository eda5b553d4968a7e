"""Estimates of when open jobs are done, from the queue and from recent run times."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, or_, select

from cascade_core.errors import DeadlineExceeded
from cascade_core.job_states import OPEN_STATES
from serve.storage.connections import Connections
from serve.storage.records import JobOwner, utc_now
from serve.storage.schema.tables import jobs, scaled_to_zero_stages, upsert

_MEAN_OVER_JOBS = 20


@dataclass(frozen=True, slots=True)
class JobInQueue:
    """An open job, as the order of the queue sees it.

    Attributes:
        user: the user it is charged to, see :attr:`JobOwner.queue_user`.
        work: of the whole job, see :meth:`cascade_core.families.spec.Family.work`.
    """

    id: str
    user: str
    work: float
    is_running: bool


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """Where a queued job stands.

    Attributes:
        position: how many jobs probably end before it.
        work_ahead: the work of those jobs.
    """

    position: int
    work_ahead: float


@dataclass(frozen=True, slots=True)
class QueueEstimate:
    """What the time that open jobs still take is estimated from.

    Attributes:
        positions: of the queued jobs, by id.
        running: how many jobs run at once.
        seconds_per_work: recent run time of a job by its work; None if no job has run yet.
        scaled_to_zero: stages without a replica. The time until one has started is unknown.
    """

    positions: dict[str, QueuePosition]
    running: int
    seconds_per_work: float | None
    scaled_to_zero: AbstractSet[str]

    def queued_eta_s(self, job_id: str, work: float) -> float | None:
        """Return the seconds until a queued job is probably done; None if that is unknown."""
        place = self.positions.get(job_id)
        if place is None or self.seconds_per_work is None:
            return None
        waiting_s = place.work_ahead * self.seconds_per_work / max(1, self.running)
        return round(waiting_s + work * self.seconds_per_work, 2)

    def waits_for_start(self, stages: Iterable[str]) -> bool:
        """Return True if one of the stages has no replica yet."""
        return not self.scaled_to_zero.isdisjoint(stages)

    def running_eta_s(self, started_at: datetime, work: float) -> float | None:
        """Return the seconds until a running job is probably done; None if that is unknown."""
        if self.seconds_per_work is None:
            return None
        running_s: float = (utc_now() - started_at).total_seconds()
        return round(max(0.0, work * self.seconds_per_work - running_s), 2)


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


def queue_positions(open_jobs: Iterable[JobInQueue]) -> dict[str, QueuePosition]:
    """Return the positions of the queued jobs, in the order of `serve.jobs.fair_queue`.

    Jobs are ordered by the open work that their user requested earlier. Of jobs with equal work,
    the oldest comes first. Running jobs are ahead of all queued ones.
    """
    work_of_user: dict[str, float] = {}
    tagged: list[tuple[bool, float, JobInQueue]] = []
    for job in sorted(open_jobs, key=lambda job: job.id):
        start = work_of_user.get(job.user, 0.0)
        work_of_user[job.user] = start + job.work
        tagged.append((not job.is_running, start, job))
    tagged.sort(key=lambda entry: (entry[0], entry[1], entry[2].id))
    found, work_ahead = {}, 0.0
    for position, (is_queued, _, job) in enumerate(tagged):
        if is_queued:
            found[job.id] = QueuePosition(position, work_ahead)
        work_ahead += job.work
    return found


def estimate_queue(connection: Connection) -> QueueEstimate:
    """Read all open jobs and the last jobs that succeeded."""
    names = (jobs.c.id, jobs.c.owner, jobs.c.user, jobs.c.work, jobs.c.state)
    rows = connection.execute(select(*names).where(jobs.c.state.in_(OPEN_STATES)))
    queue = [
        JobInQueue(
            row.id,
            JobOwner(row.owner, row.user).queue_user,
            row.work,
            is_running=row.state == "running",
        )
        for row in rows
    ]
    running = sum(job.is_running for job in queue)
    query = select(scaled_to_zero_stages.c.name)
    scaled_to_zero = frozenset(connection.execute(query).scalars())
    seconds = recent_seconds_per_work(connection)
    return QueueEstimate(queue_positions(queue), running, seconds, scaled_to_zero)


def recent_seconds_per_work(connection: Connection) -> float | None:
    """Return the recent run time of a job by its work; None if no job has run yet."""
    # Jobs that exceeded their deadline took at least as long. Without them, a service that became
    # too slow for its own deadlines would never learn it.
    was_too_slow = jobs.c.error["code"].as_string() == DeadlineExceeded.code
    # A job that ended before it started (the clock was set back, or an archive says so) would make
    # the pace negative and put the deadlines of new jobs into the past.
    is_known = jobs.c.started_at <= jobs.c.finished_at
    query = select(jobs.c.started_at, jobs.c.finished_at, jobs.c.work).where(
        or_(jobs.c.state == "succeeded", was_too_slow), jobs.c.work > 0, is_known
    )
    latest = list(connection.execute(query.order_by(jobs.c.id.desc()).limit(_MEAN_OVER_JOBS)))
    if not latest:
        return None
    seconds = sum((end - start).total_seconds() for start, end, _ in latest)
    return float(seconds / sum(work for _, _, work in latest))
