"""What the gateway needs of the process that runs jobs, and a cache of its 429 answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cascade_core.errors import RateLimited
from cascade_core.request import GenerationRequest
from serve.storage.job_parts.choice import Choice
from serve.storage.records import JobIdentity, JobOwner

REPEAT_S: Final = 1.0
"""For so long, a 429 answer is repeated without asking Jobs. As long as the shortest Retry-After: a
client that waits that long reaches Jobs."""
KEEP_S: Final = 60.0
"""For so long, one request at a time finds out whether a limited user may submit again."""


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """How many replicas of a deployment run, and how many start."""

    running: int
    starting: int = 0


class JobsClient(Protocol):
    """Reaches the process that runs jobs."""

    async def submit(
        self,
        request: GenerationRequest,
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        identity: JobIdentity,
        *,
        is_watched: bool,
    ) -> str:
        """Record and start a job; returns its id, or the id of an equal earlier job.

        Previews are drawn if the job ``is_watched``, or from a later :meth:`watch` on.

        Raises:
            NotReady: the service is draining, or the Jobs process does not answer.
            IdempotencyMismatch: the id or key was used for another request.
            RateLimited: too many jobs are open.
        """
        ...

    async def continue_job(
        self, job_id: str, owner: JobOwner, choice: Choice, identity: JobIdentity
    ) -> None:
        """Finish the chosen images of an owner's waiting job; a repeated request changes nothing.

        Raises:
            NotReady: the service is draining, or the Jobs process does not answer.
            Conflict: the job does not wait, or was continued by another request.
            IdempotencyMismatch: the key was used for another choice.
            RateLimited: too many jobs are open.
        """
        ...

    async def redo_job(
        self, job_id: str, owner: JobOwner, indices: Sequence[int], identity: JobIdentity
    ) -> None:
        """Compose images of an owner's waiting job anew; a repeated request changes nothing.

        Raises:
            NotReady: the service is draining, or the Jobs process does not answer.
            Conflict: the job does not wait, or was composed anew too often.
            IdempotencyMismatch: the key was used for other images.
            RateLimited: too many jobs are open.
        """
        ...

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; False if it had ended already."""
        ...

    def watch(self, job_id: str) -> None:
        """Have previews of a job drawn from its next stage on, as a client sees them now."""
        ...

    async def replicas(self) -> dict[str, ReplicaCount]:
        """Return how many replicas each deployment has."""
        ...

    async def ready(self) -> dict[str, str]:
        """Return each deployment's state: ``ready``, or why it is not."""
        ...


class RateLimitCache:
    """Repeats 429 answers for a moment without another call to the Jobs process.

    In a flood, each such answer would cost a call to the process that works on the accepted jobs,
    and would wait behind them. A user's answer is kept until a job of theirs is accepted.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limited: dict[str, tuple[float, RateLimited]] = {}
        self._asking: set[str] = set()

    @contextmanager
    def submitting(self, owner: JobOwner) -> Iterator[None]:
        """Submit one job in this block; remembers whether the limits refused it.

        Raises:
            RateLimited: raised in the block. Before the block: the user was limited within the
                last second, or another request of the limited user is not answered yet.
        """
        user = owner.queue_user
        at_s, answer = self._limited.get(user, (0.0, None))
        age_s = self._clock() - at_s
        if answer is None or age_s >= KEEP_S:
            with self._remembering(user):
                yield
            return
        if age_s < REPEAT_S or user in self._asking:
            raise RateLimited(answer.message, answer.field, answer.retry_after_s)
        self._asking.add(user)
        try:
            with self._remembering(user):
                yield
        finally:
            self._asking.discard(user)

    @contextmanager
    def _remembering(self, user: str) -> Iterator[None]:
        try:
            yield
        except RateLimited as answer:
            now_s = self._clock()
            fresh = {
                name: entry for name, entry in self._limited.items() if now_s - entry[0] < KEEP_S
            }
            self._limited = fresh | {user: (now_s, answer)}
            raise
        self._limited.pop(user, None)
