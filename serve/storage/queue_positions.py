"""Pure policy: the positions of queued jobs, in the order that the fair queue will take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open job in the queue.

    Attributes:
        user: the user whose share of the stages it takes.
        work: of the whole job, see :func:`serve.workload.job_work`.
    """

    id: str
    user: str
    work: float
    is_running: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a queued job.

    Attributes:
        position: how many jobs are expected to end before it.
        work_ahead: their work.
    """

    position: int
    work_ahead: float


def places(open_jobs: Iterable[Waiting]) -> dict[str, Place]:
    """Return the places of the queued jobs, as `serve.jobs.fair_queue` will take them.

    Users take turns by work: a job comes after what its user has open already, and then the
    older one first. Running jobs are ahead of all queued ones.
    """
    claimed: dict[str, float] = {}
    tagged: list[tuple[bool, float, Waiting]] = []
    for job in sorted(open_jobs, key=lambda job: job.id):
        start = claimed.get(job.user, 0.0)
        claimed[job.user] = start + job.work
        tagged.append((not job.is_running, start, job))
    tagged.sort(key=lambda entry: (entry[0], entry[1], entry[2].id))
    found, work_ahead = {}, 0.0
    for position, (is_queued, _, job) in enumerate(tagged):
        if is_queued:
            found[job.id] = Place(position, work_ahead)
        work_ahead += job.work
    return found
