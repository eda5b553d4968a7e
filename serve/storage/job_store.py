"""Writes of jobs, each with its event in the same transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from cascade_core.errors import Conflict, IdempotencyMismatch, NotReady
from cascade_core.job_states import OPEN_STATES, JobState
from serve.release import RELEASE
from serve.settings import MIN_DEADLINE_S
from serve.storage.blobs.blob_keys import preview_name
from serve.storage.connections import Connections
from serve.storage.events import append_event
from serve.storage.job_queries import JobQueries, load_ended_job
from serve.storage.job_queue.admission import Admission, lock_admission, queued_job
from serve.storage.records import Job, JobIdentity, NewJob, OpenLimits
from serve.storage.schema.tables import MAX_INBOX_CHARS, database_now, images, jobs

_INSERT_ATTEMPTS = 5


class JobStore(JobQueries):
    """Writes and reads jobs; every method is one transaction and blocks."""

    def __init__(
        self, connections: Connections, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(connections, clock)
        self._admission = Admission(self._estimates, clock)

    def insert(self, job: NewJob, limits: OpenLimits | None = None) -> str | None:
        """Accept a job with its planned images and append the event ``queued``.

        Returns:
            None if the job is new. The id of the earlier job, and nothing changed, if this request
            was accepted before.

        Raises:
            IdempotencyMismatch: the id or key was used for another request.
            RateLimited: more jobs are open than ``limits`` allow.
            NotReady: also when the request's key changed hands in every attempt.
        """
        for _ in range(_INSERT_ATTEMPTS):
            # Many rejections must not take the lock that writers need.
            if limits is not None and self._admission.has_refused_lately:
                earlier_id = self._check_first(job, limits)
                if earlier_id is not None:
                    return earlier_id
            with suppress(Conflict):  # the same request came in before, or at the same time
                self._insert(job, limits)
                return None
            earlier_id = self.accepted_before(job.identity)
            if earlier_id is not None:
                return earlier_id
            # That job was cancelled since, which frees its key. So this one is new.
        raise NotReady("equal requests are sent and abandoned repeatedly; try again")

    def accepted_before(self, identity: JobIdentity) -> str | None:
        """Return the id of the job that the same request became before; None if it is new.

        Raises:
            IdempotencyMismatch: the id or key was used for another request.
        """
        with self._connections.reading() as connection:
            return _accepted_before(connection, identity)

    def start(self, job_id: str) -> bool:
        """Move a job from queued to running; False if it is not queued."""
        change = update(jobs).where(jobs.c.id == job_id, jobs.c.state == "queued")
        with self._connections.writing() as connection:
            values = {"state": "running", "started_at": database_now(connection)}
            return connection.execute(change.values(values)).rowcount == 1

    def record_progress(
        self,
        job_id: str,
        stage: str,
        step: int,
        steps: int,
        index: int,
        preview_key: str | None = None,
    ) -> None:
        """Record a step and append the event ``progress``; ignored once the job has ended."""
        data: dict[str, Any] = {"stage": stage, "step": step, "steps": steps, "index": index}
        values = {"stage": stage, "step": step, "steps": steps, "image_index": index}
        if preview_key is not None:
            data["preview"] = preview_name(job_id, preview_key)
        with self._connections.writing() as connection:
            if update_open(connection, job_id, values):
                append_event(connection, job_id, "progress", data)

    def add_cost(self, job_id: str, stage: str, seconds: float) -> None:
        """Add a stage's compute time to the job's cost."""
        with self._connections.writing() as connection:
            add_cost(connection, job_id, stage, seconds)

    def add_warnings(self, job_id: str, texts: Iterable[str]) -> None:
        """Add sentences to a job's warnings, each once: stages and images may repeat themselves."""
        query = select(jobs.c.warnings).where(jobs.c.id == job_id).with_for_update()
        with self._connections.writing() as connection:
            known: list[str] = connection.execute(query).scalar_one()
            new = [text for text in dict.fromkeys(texts) if text not in known]
            if new:
                change = update(jobs).where(jobs.c.id == job_id)
                connection.execute(change.values(warnings=known + new))

    def copy_warnings(self, from_id: str, job_id: str) -> None:
        """Give a job the warnings of the job whose latent it reuses; none if that job is gone."""
        earlier = self.get(from_id)
        if earlier is not None and earlier.warnings:
            self.add_warnings(job_id, earlier.warnings)

    def count_crash(self, job_id: str, call: str) -> int:
        """Count a replica that was lost while it ran a job's call; returns the crashes so far.

        Args:
            job_id: of the job.
            call: names one of its calls, such as ``b0``.
        """
        # Several images of a job may lose their replicas at once; SQLite locks when it begins.
        query = select(jobs.c.crashes).where(jobs.c.id == job_id).with_for_update()
        with self._connections.writing() as connection:
            counts = connection.execute(query).scalar() or {}
            counts = counts | {call: counts.get(call, 0) + 1}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(crashes=counts))
        count: int = counts[call]
        return count

    def replace_client_state(
        self, job_id: str, state: dict[str, Any] | None, expected: dict[str, Any] | None = None
    ) -> None:
        """Give a job another client state; of several that expect the same one, one succeeds.

        A client that must neither miss a job's end nor act on it twice names an inbox in the job's
        state. It finds its jobs by the inbox after a restart, and removes the inbox from each job
        that it has dealt with.

        Args:
            job_id: of a job that exists.
            state: the new one.
            expected: what the state must be now; None: anything.

        Raises:
            Conflict: the state is another one.
        """
        query = select(jobs.c.client_state).where(jobs.c.id == job_id).with_for_update()
        with self._connections.writing() as connection:
            current = connection.execute(query).scalar()
            if expected is not None and current != expected:
                raise Conflict("the job's client_state is another one by now", "expected")
            values = {"client_state": state, "inbox": _inbox_of(state)}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))

    def release_idempotency_key(self, job_id: str) -> None:
        """Free the Idempotency-Key of an open job, so that the same request becomes a new job."""
        is_open = jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES)
        with self._connections.writing() as connection:
            connection.execute(update(jobs).where(*is_open).values(idempotency_key=None))

    def finish(self, job_id: str, state: JobState, error: dict[str, Any] | None = None) -> bool:
        """End an open job and append its last event, which carries the job as it ended.

        The event leaves out ``client_state``: the event is never deleted, and clients keep there
        what they take away later, such as a chat's token.

        Returns:
            True for exactly one caller; False when the job had ended already.
        """
        with self._connections.writing() as connection:
            values = {"state": state, "error": error, "finished_at": database_now(connection)}
            if not update_open(connection, job_id, values):
                return False
            data = last_event_data(load_ended_job(connection, job_id))
            append_event(connection, job_id, state, data)
        return True

    def _check_first(self, job: NewJob, limits: OpenLimits) -> str | None:
        """Return the id of the earlier job, if any; refuse a new one if too many jobs are open."""
        with self._connections.reading() as connection:
            earlier_id = _accepted_before(connection, job.identity)
            if earlier_id is None:
                self._admission.check_limits(connection, job, limits)
        return earlier_id

    def _insert(self, job: NewJob, limits: OpenLimits | None) -> None:
        min_deadline_s = MIN_DEADLINE_S if limits is None else limits.min_deadline_s
        with self._connections.writing() as connection:
            admitted = self._admission.admit(connection, job, min_deadline_s)
            times = {"created_at": admitted.created_at, "deadline_at": admitted.deadline_at}
            connection.execute(insert(jobs).values(_job_values(job) | times))
            connection.execute(insert(images), planned_values(job))
            if limits is not None:
                lock_admission(connection)  # late: other jobs wait for it until the commit
                self._admission.check_limits(connection, job, limits)
            data = {"position": admitted.position, "eta_s": admitted.eta_s}
            append_event(connection, job.id, "queued", data)
        self._estimates.add(queued_job(job))


def last_event_data(job: Job) -> dict[str, Any]:
    """Return the data of the event that ends a job's stream: the job without its client state."""
    return {"job": replace(job, client_state=None).to_json()}


def planned_values(job: NewJob) -> list[dict[str, Any]]:
    """Return the columns of a job's planned images."""
    shared = {
        "job_id": job.id,
        "width": job.request.width,
        "height": job.request.height,
        "format": job.request.format,
        "latent_use": "stored" if job.request.operation.starts_from_latent else None,
    }
    return [
        shared
        | {
            "id": image.id,
            "index": image.index,
            "latent_id": image.latent_id,
            "seed": image.seed,
            "decoder_seed": image.decoder_seed,
        }
        for image in job.images
    ]


def update_open(connection: Connection, job_id: str, values: dict[str, Any]) -> bool:
    """Change a job that has not ended; with no values only lock it. False if it has ended."""
    change = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES))
    return connection.execute(change.values(values or {"id": job_id})).rowcount == 1


def add_cost(connection: Connection, job_id: str, stage: str, seconds: float) -> None:
    """Add a stage's compute time to a job's cost."""
    # Several images of a job may end a stage at once; SQLite locks when it begins.
    query = select(jobs.c.cost).where(jobs.c.id == job_id).with_for_update()
    cost_s: dict[str, float] | None = connection.execute(query).scalar()
    if cost_s is not None:
        cost_s = cost_s | {stage: cost_s.get(stage, 0.0) + seconds}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(cost=cost_s))


def _accepted_before(connection: Connection, identity: JobIdentity) -> str | None:
    same = jobs.c.id == identity.job_id
    if identity.key is not None:
        same = or_(same, jobs.c.idempotency_key == identity.key)
    rows = list(connection.execute(select(jobs.c.id, jobs.c.body_digest).where(same)))
    if any(row.body_digest != identity.body for row in rows) or len(rows) > 1:
        raise IdempotencyMismatch("this id or Idempotency-Key was used for another request")
    return str(rows[0].id) if rows else None


def _job_values(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.request.kind,
        "state": "queued",
        "request": job.request.to_dict(),
        "client_state": job.client_state,
        "inbox": _inbox_of(job.client_state),
        "owner": job.owner.key_id,
        "user": job.owner.user,
        "label": job.owner.label,
        "warnings": [],
        "idempotency_key": job.identity.key,
        "body_digest": job.identity.body,
        "work": job.work,
        "route": job.route,
        "cost": dict.fromkeys(job.family.names, 0.0),
        "release": RELEASE,
        "context": job.context or None,
    }


def _inbox_of(client_state: dict[str, Any] | None) -> str | None:
    """Return the inbox that a client's state names; None if it names none that can be stored."""
    inbox = (client_state or {}).get("inbox")
    # PostgreSQL keeps no NUL in text.
    is_one = isinstance(inbox, str) and len(inbox) <= MAX_INBOX_CHARS and "\0" not in inbox
    return inbox if is_one else None
