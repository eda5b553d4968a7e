"""Jobs that wait for their client: how they begin to wait, and how they go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from cascade_core.errors import Conflict, IdempotencyMismatch, NotFound
from cascade_core.job_states import OPEN_STATES
from serve.release import RELEASE, is_later
from serve.storage.connections import Connections
from serve.storage.events import append_event
from serve.storage.job_parts.choice import Choice
from serve.storage.job_parts.parts import CONTINUED, FIRST, is_part, part_of
from serve.storage.job_parts.redo import (
    MAX_REDOS,
    REPLACED_COLUMNS,
    Redo,
    columns_anew,
    redos_from,
)
from serve.storage.job_queries import record_newer
from serve.storage.job_queue.admission import Admission, lock_admission
from serve.storage.job_store import (
    add_warnings,
    append_resting,
    remove_waiting_event,
    update_in,
)
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
        model: the id of the job's model.
    """

    id: str
    owner: JobOwner
    choice: Choice
    identity: JobIdentity
    work: float
    route: list[str]
    model: str | None = None


@dataclass(frozen=True, slots=True)
class RedoneJob:
    """A waiting job of which some images are to be composed anew.

    Attributes:
        latent_ids: by the index of each of these images, the id of its new latent.
        identity: as in :class:`ContinuedJob`.
        work: of these images at the stages up to the stop.
        route: the names of these stages, in order.
        model: the id of the job's model.
    """

    id: str
    owner: JobOwner
    latent_ids: Mapping[int, str]
    identity: JobIdentity
    work: float
    route: list[str]
    model: str | None = None


class WaitingStore:
    """Writes and reads jobs that wait; every method is one transaction and blocks.

    Args:
        connections: of the database.
        admission: of the jobs of this process; a continued job is admitted as a new one.
    """

    def __init__(self, connections: Connections, admission: Admission) -> None:
        self._connections = connections
        self._admission = admission

    def begin(
        self,
        job_id: str,
        at_most: timedelta,
        part: str = FIRST,
        error: Mapping[str, str] | None = None,
    ) -> bool:
        """Let an open job wait for its client, and append the event ``waiting``.

        Its deadline is from now on the end of the wait, and no work is left. Images that its last
        redo did not compose have their earlier compositions again.

        Args:
            job_id: of the job.
            at_most: how long it waits.
            part: in which the job must be.
            error: why its redo failed; becomes a warning.

        Returns:
            False if the job was not open, or is in another part by now.
        """
        with self._connections.writing() as connection:
            until = database_now(connection) + at_most
            values = {"state": "waiting", "deadline_at": until, "work": 0.0}
            if not update_in(connection, job_id, OPEN_STATES, values, is_part(part)):
                return False
            _restore_missing(connection, job_id)
            if error is not None:
                add_warnings(connection, job_id, [f"composing anew failed: {error['message']}"])
            append_resting(connection, job_id)
        return True

    def accepted_before(self, job_id: str, identity: JobIdentity) -> bool:
        """Return True if a job went on by this very request; False if it waits.

        Raises:
            NotFound: there is no such job.
            Conflict: it is in another state.
            IdempotencyMismatch: the key was used for another request to have the job go on.
            RecordNewer: a later release accepted it, and has it go on.
        """
        with self._connections.reading() as connection:
            return _went_on(_stored(connection, job_id), identity)

    def resume(self, job: ContinuedJob, limits: OpenLimits) -> str | None:
        """Queue a waiting job again and append the event ``queued``; it gets a new deadline.

        Returns:
            The part that begins; None, and nothing changed, if the same request was accepted
            before.

        Raises:
            NotFound, Conflict, IdempotencyMismatch, RecordNewer: as :meth:`accepted_before`.
            RateLimited: more jobs are open than ``limits`` allow.
        """
        if self._check_first(job, limits):
            return None
        with self._connections.writing() as connection:
            if _went_on(_stored(connection, job.id), job.identity):
                return None
            self._queue_again(connection, job, {"choice": _choice_columns(job)}, limits)
            if size := job.choice.size:
                chosen = images.c.job_id == job.id, images.c.index.in_(job.choice.indices)
                connection.execute(update(images).where(*chosen).values(size))
        self._admission.add(job)
        return CONTINUED

    def redo(self, job: RedoneJob, limits: OpenLimits) -> str | None:
        """Queue a waiting job again to compose images anew, with other seeds.

        The job keeps what these images had, and their latents stay.

        Returns:
            As :meth:`resume`.

        Raises:
            NotFound, IdempotencyMismatch, RecordNewer: as :meth:`accepted_before`.
            Conflict: it is in another state, or was redone as often as a job may be.
            RateLimited: more jobs are open than ``limits`` allow.
        """
        if self._check_first(job, limits):
            return None
        with self._connections.writing() as connection:
            row = _stored(connection, job.id)
            if _went_on(row, job.identity):
                return None
            if len(row.redos or ()) >= MAX_REDOS:
                raise Conflict(f"the job was composed anew {MAX_REDOS} times, which is the most")
            redo = self._replace_compositions(connection, job)
            stored = [*(row.redos or ()), redo.to_stored()]
            self._queue_again(connection, job, {"redos": stored}, limits)
        self._admission.add(job)
        return part_of(is_continued=False, redos=len(stored))

    def _check_first(self, job: ContinuedJob | RedoneJob, limits: OpenLimits) -> bool:
        """Return :meth:`accepted_before`; refuse a job that waits if too many others are open.

        Many refused requests must not take the lock that writers need.
        """
        if not self._admission.has_refused_lately:
            return False
        with self._connections.reading() as connection:
            if _went_on(_stored(connection, job.id), job.identity):
                return True
            self._admission.check_limits(connection, job, limits)
        return False

    def _queue_again(
        self,
        connection: Connection,
        job: ContinuedJob | RedoneJob,
        values: dict[str, Any],
        limits: OpenLimits,
    ) -> None:
        """Admit a waiting job as a new one; how it ran before is forgotten."""
        admitted = self._admission.admit(connection, job, limits.min_deadline_s)
        names = ("started_at", "stage", "step", "steps", "image_index", "crashes")
        forgotten = dict.fromkeys(names)
        queued = {"state": "queued", "work": job.work, "route": job.route, "release": RELEASE}
        queued |= {"deadline_at": admitted.deadline_at, **forgotten, **values}
        update_in(connection, job.id, ["waiting"], queued)
        remove_waiting_event(connection, job.id)
        data = {"position": admitted.position, "eta_s": admitted.eta_s}
        append_event(connection, job.id, "queued", data)
        lock_admission(connection)  # late: other jobs wait for it until the commit
        self._admission.check_limits(connection, job, limits)

    def _replace_compositions(self, connection: Connection, job: RedoneJob) -> Redo:
        """Give images other seeds and new latents; returns what they had."""
        of_job = images.c.job_id == job.id
        n = connection.execute(select(func.count()).where(of_job)).scalar_one()
        replaced = []
        for index, latent_id in job.latent_ids.items():
            which = of_job, images.c.index == index
            row = connection.execute(select(images).where(*which)).mappings().one()
            replaced.append({name: row[name] for name in REPLACED_COLUMNS})
            connection.execute(
                update(images).where(*which).values(columns_anew(dict(row), n, latent_id))
            )
        key = job.identity.key or job.identity.job_id
        return Redo(database_now(connection), key, job.identity.body, tuple(replaced))

    def over_ids(self) -> list[str]:
        """Return the jobs that have waited for as long as they may."""
        with self._connections.reading() as connection:
            is_over = jobs.c.deadline_at < database_now(connection)
            query = select(jobs.c.id).where(jobs.c.state == "waiting", is_over)
            return list(connection.execute(query).scalars())


def _restore_missing(connection: Connection, job_id: str) -> None:
    """Give images that the last redo of a job did not compose back what they had before it."""
    of_job = images.c.job_id == job_id
    query = select(images.c.index).where(of_job, images.c.preview.is_(None))
    missing = set(connection.execute(query).scalars())
    *earlier, stored = _stored(connection, job_id).redos or (None,)
    if not missing or stored is None:
        return
    last = Redo.from_stored(stored)
    for values in last.replaced:
        if values["index"] in missing:
            change = update(images).where(of_job, images.c.index == values["index"])
            connection.execute(change.values(dict(values)))
    kept = tuple(values for values in last.replaced if values["index"] not in missing)
    redos = [*earlier, replace(last, replaced=kept).to_stored()]
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(redos=redos))


def _choice_columns(job: ContinuedJob) -> dict[str, Any]:
    return {**job.choice.to_stored(), "key": job.identity.key, "body": job.identity.body}


def _stored(connection: Connection, job_id: str) -> Row[Any, Any, Any, Any]:
    """Return what tells how a job may go on; a transaction that writes locks its row.

    Raises:
        NotFound: there is no such job.
    """
    columns = jobs.c.state, jobs.c.release, jobs.c.choice, jobs.c.redos
    query = select(*columns).where(jobs.c.id == job_id)
    if connection.get_execution_options().get("writes", False):
        query = query.with_for_update()
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("there is no such job")
    return row


def _went_on(row: Row[Any, Any, Any, Any], identity: JobIdentity) -> bool:
    """Return True if the job went on by this very request; False if it waits.

    Raises:
        Conflict: it is in another state.
        IdempotencyMismatch: the key was used for another request to have it go on.
        RecordNewer: a later release accepted it.
    """
    accepted = [(redo.key, redo.body) for redo in redos_from(row.redos)]
    if row.choice is not None:  # one that was imported has no key
        accepted.append((row.choice.get("key"), row.choice.get("body")))
    bodies = {body for key, body in accepted if key == identity.key}
    if bodies - {identity.body}:
        message = "this Idempotency-Key was used to continue or redo this job in another way"
        raise IdempotencyMismatch(message)
    if bodies:
        return True
    if row.state != "waiting":
        how = f"is {row.state}" if row.choice is None else "was continued before"
        raise Conflict(f"the job {how}; only a job that waits can be continued or redone")
    if is_later(row.release):  # it may ask for what this release leaves out
        raise record_newer()
    return False
