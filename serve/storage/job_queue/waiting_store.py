"""Jobs that wait for their client: how they begin to wait, and how they go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from cascade_core.errors import Conflict, IdempotencyMismatch, NotFound
from cascade_core.job_states import OPEN_STATES
from serve.release import RELEASE
from serve.storage.connections import Connections
from serve.storage.events import append_event
from serve.storage.job_queue.admission import Admission, lock_admission
from serve.storage.job_queue.choice import Choice
from serve.storage.job_store import append_resting, is_part, remove_waiting_event, update_in
from serve.storage.records import JobIdentity, JobOwner, OpenLimits
from serve.storage.schema.tables import database_now, images, jobs


@dataclass(frozen=True, slots=True)
class ContinuedJob:
    """A waiting job of which some images are to be finished.

    Attributes:
        identity: recognises the request to continue when it is sent again; its ``job_id`` is the
            request's own.
        work: of the chosen images at the stages that are left.
        route: the names of these stages, in order.
    """

    id: str
    owner: JobOwner
    choice: Choice
    identity: JobIdentity
    work: float
    route: list[str]


class WaitingStore:
    """Writes and reads jobs that wait; every method is one transaction and blocks.

    Args:
        connections: of the database.
        admission: of the jobs of this process; a continued job is admitted as a new one.
    """

    def __init__(self, connections: Connections, admission: Admission) -> None:
        self._connections = connections
        self._admission = admission

    def begin(self, job_id: str, at_most: timedelta) -> bool:
        """Let an open job wait for its client, and append the event ``waiting``.

        Its deadline is from now on the end of the wait, and no work is left.

        Returns:
            False if the job was not open, or was continued since.
        """
        with self._connections.writing() as connection:
            until = database_now(connection) + at_most
            values = {"state": "waiting", "deadline_at": until, "work": 0.0}
            is_first = is_part(is_continued=False)
            if not update_in(connection, job_id, OPEN_STATES, values, is_first):
                return False
            append_resting(connection, job_id)
        return True

    def resume(self, job: ContinuedJob, limits: OpenLimits) -> bool:
        """Queue a waiting job again and append the event ``queued``; it gets a new deadline.

        Returns:
            False, and nothing changed, if the same request was accepted before.

        Raises:
            NotFound: there is no such job.
            Conflict: it is in another state.
            IdempotencyMismatch: the key was used for another choice of images.
            RateLimited: more jobs are open than ``limits`` allow.
        """
        with self._connections.writing() as connection:
            admitted = self._admission.admit(connection, job, limits.min_deadline_s)
            values = _resumed(job) | {"deadline_at": admitted.deadline_at}
            if not update_in(connection, job.id, ["waiting"], values):
                _check_repeated(connection, job)
                return False
            remove_waiting_event(connection, job.id)
            if size := job.choice.size:
                chosen = images.c.job_id == job.id, images.c.index.in_(job.choice.indices)
                connection.execute(update(images).where(*chosen).values(size))
            data = {"position": admitted.position, "eta_s": admitted.eta_s}
            append_event(connection, job.id, "queued", data)
            lock_admission(connection)  # late: other jobs wait for it until the commit
            self._admission.check_limits(connection, job, limits)
        self._admission.add(job)
        return True

    def over_ids(self) -> list[str]:
        """Return the jobs that have waited for as long as they may."""
        with self._connections.reading() as connection:
            is_over = jobs.c.deadline_at < database_now(connection)
            query = select(jobs.c.id).where(jobs.c.state == "waiting", is_over)
            return list(connection.execute(query).scalars())


def _resumed(job: ContinuedJob) -> dict[str, Any]:
    """Return the columns of a job that is queued again; how it ran before is forgotten."""
    identity = job.identity
    return {
        "state": "queued",
        **dict.fromkeys(("started_at", "stage", "step", "steps", "image_index")),
        "work": job.work,
        "route": job.route,
        "release": RELEASE,
        "choice": {**job.choice.to_stored(), "key": identity.key, "body": identity.body},
    }


def _check_repeated(connection: Connection, job: ContinuedJob) -> None:
    """Check that a job that does not wait was continued by this very request."""
    query = select(jobs.c.state, jobs.c.choice).where(jobs.c.id == job.id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("there is no such job")
    stored, identity = row.choice or {}, job.identity
    if stored.get("key") != identity.key:
        how = "was continued before" if stored else f"is {row.state}"
        raise Conflict(f"the job {how}; only a job that waits can be continued, once")
    if stored["body"] != identity.body:
        raise IdempotencyMismatch("this Idempotency-Key was used for another choice of images")
