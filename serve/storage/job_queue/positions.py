"""The order of the open jobs, and the position of each queued one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, TypeAlias

Rank: TypeAlias = tuple[bool, float, str]
"""Of a job: it is queued, the open work that its user requested earlier, its id."""


class JobInQueue(NamedTuple):
    """An open job, as the order of the queue sees it.

    Attributes:
        user: the user it is charged to, see :attr:`JobOwner.queue_user`.
        work: of the whole job, see :meth:`cascade_core.families.spec.Family.work`.
        seconds: that this work probably takes its model.
    """

    id: str
    user: str
    work: float
    is_running: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """Where a queued job stands.

    Attributes:
        position: how many jobs probably end before it.
        seconds_ahead: that those jobs probably take, one after another.
    """

    position: int
    seconds_ahead: float


class JobOrder:
    """The open jobs in the order of `serve.jobs.dispatch.fair_queue`; several threads may use it.

    Jobs are ordered by the open work that their user requested earlier. Of jobs with equal work,
    the oldest comes first. Running jobs are ahead of all queued ones.
    """

    def __init__(self, open_jobs: Iterable[JobInQueue]) -> None:
        self._lock = Lock()
        self._requested_work: dict[str, float] = {}
        by_rank: list[tuple[Rank, float]] = []
        for job in sorted(open_jobs):  # by id
            by_rank.append((self._rank_of_newest(job), job.seconds))
            self._charge(job)
        by_rank.sort()
        self._ranks = [rank for rank, _ in by_rank]
        self._seconds = [seconds for _, seconds in by_rank]
        self._rank_by_id = {rank[2]: rank for rank in self._ranks}

    def __len__(self) -> int:
        return len(self._ranks)

    def place(self, job: JobInQueue) -> QueuePosition:
        """Return the position of a queued job; an unknown one counts as the newest of its user."""
        with self._lock:
            rank = self._rank_by_id.get(job.id) or self._rank_of_newest(job)
            position = bisect_left(self._ranks, rank)
            return QueuePosition(position, sum(self._seconds[:position], 0.0))

    def add(self, job: JobInQueue) -> None:
        """Add a queued job as the newest of its user, unless it is known."""
        with self._lock:
            if job.id in self._rank_by_id:
                return
            rank = self._rank_of_newest(job)
            position = bisect_left(self._ranks, rank)
            self._ranks.insert(position, rank)
            self._seconds.insert(position, job.seconds)
            self._rank_by_id[job.id] = rank
            self._charge(job)

    def _rank_of_newest(self, job: JobInQueue) -> Rank:
        return not job.is_running, self._requested_work.get(job.user, 0.0), job.id

    def _charge(self, job: JobInQueue) -> None:
        self._requested_work[job.user] = self._requested_work.get(job.user, 0.0) + job.work
