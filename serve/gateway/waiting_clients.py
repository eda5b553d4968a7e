"""Which requests of this process wait for which jobs."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_core.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that a request became.

    Attributes:
        is_new: it became one now, and not when it came before.
        request: of a new job; None: it stands in the database.
    """

    job_id: str
    is_new: bool
    request: GenerationRequest | None = None


@dataclass(slots=True)
class _Crowd:
    count: int
    is_bound: bool


class Waiters:
    """Tells when a job's last waiting client has left, and whether the job ends with that.

    It does if the request that made the job waits, too, until one of them gets an answer: a job
    that was promised to somebody goes on. Requests for one job meet by its id or Idempotency-Key,
    if they reach the same gateway process: those of another one are not known here.
    """

    def __init__(self) -> None:
        self._crowds: dict[str, _Crowd] = {}

    def join(self, accepted: Accepted) -> None:
        """Note a request that begins to wait for its job."""
        self._crowds.setdefault(accepted.job_id, _Crowd(0, accepted.is_new)).count += 1

    def leave(self, accepted: Accepted, *, is_answered: bool) -> bool:
        """Note that a request waits no more; True if the job is to end now."""
        crowd = self._crowds[accepted.job_id]
        crowd.count -= 1
        crowd.is_bound &= not is_answered
        if crowd.count == 0:
            del self._crowds[accepted.job_id]
        return crowd.count == 0 and crowd.is_bound

    def count(self, job_id: str) -> int:
        """Return how many requests wait for a job."""
        crowd = self._crowds.get(job_id)
        return 0 if crowd is None else crowd.count
