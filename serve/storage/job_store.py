"""Writes of jobs, each with its event in the same transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from cascade_core.errors import Conflict, IdempotencyMismatch, NotReady
from cascade_core.job_states import LIVE_STATES, OPEN_STATES, JobState
from serve.release import RELEASE
from serve.settings import MIN_DEADLINE_S
from serve.storage.blobs.blob_keys import preview_name
from serve.storage.connections import Connections
from serve.storage.events import append_event, append_events
from serve.storage.job_parts.parts import is_part
from serve.storage.job_queries import JobQueries, load_resting_job
from serve.storage.job_queue.admission import Admission, lock_admission
from serve.storage.records import Job, JobIdentity, NewJob, OpenLimits, ProgressStep
from serve.storage.schema.tables import MAX_INBOX_CHARS, database_now, events, images, jobs

_INSERT_ATTEMPTS = 5


class JobStore(JobQueries):
    """Writes and reads jobs; every method is one transaction and blocks."""

    def __init__(
        self, connections: Connections, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(connections, clock)
        self.admission = Admission(self._estimates, clock)

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
            # Many refused requests must not take the lock that writers need.
            if limits is not None and self.admission.has_refused_lately:
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

    def record_progress(
        self,
        steps: Sequence[ProgressStep],
        started_ago_s: Mapping[str, float],
        warnings: Mapping[str, Iterable[str]],
    ) -> set[str]:
        """Record what running jobs have reported; jobs that have ended stay as they are.

        Each step becomes an event ``progress``; a job's row keeps its last one. Of jobs whose rows
        other transactions have locked nothing is recorded: all jobs would wait for the longest of
        these locks.

        Args:
            steps: of any number of jobs; those of one job in their order.
            started_ago_s: how many seconds ago the first stage of a job began, by job id. A queued
                job becomes running.
            warnings: sentences, by job id; see :meth:`add_warnings`.

        Returns:
            The ids of the open jobs whose rows other transactions have locked.
        """
        job_ids = {step.job_id for step in steps}.union(started_ago_s, warnings)
        with self._connections.writing() as connection:
            free_ids, locked_ids = _lock_open(connection, job_ids)
            _start(connection, {key: started_ago_s[key] for key in free_ids & started_ago_s.keys()})
            _record_steps(connection, [step for step in steps if step.job_id in free_ids])
            for job_id in free_ids & warnings.keys():
                add_warnings(connection, job_id, warnings[job_id])
        return locked_ids

    def add_costs(self, job_id: str, costs_s: Mapping[str, float]) -> None:
        """Add the seconds of stages to the job's cost."""
        with self._connections.writing() as connection:
            add_costs(connection, job_id, costs_s)

    def add_warnings(self, job_id: str, texts: Iterable[str]) -> None:
        """Add sentences to a job's warnings, each once: stages and images may repeat themselves."""
        with self._connections.writing() as connection:
            add_warnings(connection, job_id, texts)

    def copy_warnings(self, from_id: str, job_id: str) -> None:
        """Give a job the warnings of the job whose latent it reuses; none if that job is gone."""
        query = select(jobs.c.warnings).where(jobs.c.id == from_id)
        with self._connections.reading() as connection:
            warnings = connection.execute(query).scalar()
        if warnings:
            self.add_warnings(job_id, warnings)

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
        """Free the Idempotency-Key of a job that has not ended; its request can make a new job."""
        is_live = jobs.c.id == job_id, jobs.c.state.in_(LIVE_STATES)
        with self._connections.writing() as connection:
            connection.execute(update(jobs).where(*is_live).values(idempotency_key=None))

    def finish(
        self,
        job_id: str,
        state: JobState,
        error: dict[str, Any] | None = None,
        *,
        if_in: Collection[JobState] = OPEN_STATES,
        part: str | None = None,
    ) -> bool:
        """End a job and append its last event, which carries the job as it ended.

        The event leaves out ``client_state``: the event is never deleted, and clients keep there
        what they take away later, such as a chat's token.

        Args:
            job_id: of the job.
            state: in which it ends.
            error: why it failed.
            if_in: the states that it may end from.
            part: in which the job must be, see :mod:`serve.storage.job_parts.parts`; None: any.

        Returns:
            True for exactly one caller; False when the job was in another state.
        """
        with self._connections.writing() as connection:
            values = {"state": state, "error": error, "finished_at": database_now(connection)}
            conditions = [] if part is None else [is_part(part)]
            if not update_in(connection, job_id, if_in, values, *conditions):
                return False
            if "waiting" in if_in:
                remove_waiting_event(connection, job_id)
            append_resting(connection, job_id)
        return True

    def _check_first(self, job: NewJob, limits: OpenLimits) -> str | None:
        """Return the id of the earlier job, if any; refuse a new one if too many jobs are open."""
        with self._connections.reading() as connection:
            earlier_id = _accepted_before(connection, job.identity)
            if earlier_id is None:
                self.admission.check_limits(connection, job, limits)
        return earlier_id

    def _insert(self, job: NewJob, limits: OpenLimits | None) -> None:
        min_deadline_s = MIN_DEADLINE_S if limits is None else limits.min_deadline_s
        with self._connections.writing() as connection:
            admitted = self.admission.admit(connection, job, min_deadline_s)
            times = {"created_at": admitted.created_at, "deadline_at": admitted.deadline_at}
            connection.execute(insert(jobs).values(_job_values(job) | times))
            connection.execute(insert(images), planned_values(job))
            data = {"position": admitted.position, "eta_s": admitted.eta_s}
            append_event(connection, job.id, "queued", data)
            if limits is not None:
                lock_admission(connection)  # late: other jobs wait for it until the commit
                self.admission.check_limits(connection, job, limits)
        self.admission.add(job)


def last_event_data(job: Job) -> dict[str, Any]:
    """Return the data of the event that ends a job's stream: the job without its client state."""
    return {"job": replace(job, client_state=None).to_json()}


def remove_waiting_event(connection: Connection, job_id: str) -> None:
    """Remove the event that ended the streams of a job that waits no longer."""
    connection.execute(delete(events).where(events.c.job_id == job_id, events.c.type == "waiting"))


def append_resting(connection: Connection, job_id: str) -> None:
    """Append the event that ends the streams of a job; its type is the job's new state."""
    job = load_resting_job(connection, job_id)
    append_event(connection, job_id, job.state, last_event_data(job))


def planned_values(job: NewJob) -> list[dict[str, Any]]:
    """Return the columns of a job's planned images."""
    shared = {
        "job_id": job.id,
        "width": job.request.width,
        "height": job.request.height,
        "format": job.request.format,
        "upload_id": job.request.upload_id,
    }
    sources = [job.request.source_latent_id(image.index) for image in job.images]
    return [
        shared
        | {
            "id": image.id,
            "index": image.index,
            "latent_id": image.latent_id,
            "latent_use": "stored" if image.latent_id == source else None,
            "source_latent_id": source,
            "seed": image.seed,
            "decoder_seed": image.decoder_seed,
        }
        for image, source in zip(job.images, sources, strict=True)
    ]


def update_open(connection: Connection, job_id: str, values: dict[str, Any]) -> bool:
    """Change an open job; with no values only lock it. False if it is not open."""
    return update_in(connection, job_id, OPEN_STATES, values or {"id": job_id})


def update_in(
    connection: Connection,
    job_id: str,
    states: Collection[JobState],
    values: dict[str, Any],
    *conditions: ColumnElement[bool],
) -> bool:
    """Change a job that is in one of these states and meets the conditions; False if not."""
    change = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(states), *conditions)
    return connection.execute(change.values(values)).rowcount == 1


def add_costs(connection: Connection, job_id: str, costs_s: Mapping[str, float]) -> None:
    """Add the seconds of stages to a job's cost."""
    # Several images of a job may end a stage at once; SQLite locks when it begins.
    query = select(jobs.c.cost).where(jobs.c.id == job_id).with_for_update()
    cost_s: dict[str, float] | None = connection.execute(query).scalar()
    if cost_s is not None:
        sums_s = {stage: cost_s.get(stage, 0.0) + seconds for stage, seconds in costs_s.items()}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(cost=cost_s | sums_s))


def add_warnings(connection: Connection, job_id: str, texts: Iterable[str]) -> None:
    """Add sentences to a job's warnings, each once."""
    query = select(jobs.c.warnings).where(jobs.c.id == job_id).with_for_update()
    known: list[str] | None = connection.execute(query).scalar_one_or_none()
    if known is None:  # retention has deleted the job
        return
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if new:
        change = update(jobs).where(jobs.c.id == job_id)
        connection.execute(change.values(warnings=known + new))


def _lock_open(connection: Connection, job_ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Lock the rows of those jobs that have not ended, without waiting for other transactions.

    Returns:
        The ids of the jobs whose rows are locked now, and of those that others have locked.
    """
    query = select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.state.in_(OPEN_STATES))
    free_ids = set(connection.execute(query.with_for_update(skip_locked=True)).scalars())
    if len(free_ids) == len(job_ids):
        return free_ids, set()
    return free_ids, set(connection.execute(query).scalars()) - free_ids


def _start(connection: Connection, started_ago_s: Mapping[str, float]) -> None:
    """Move queued jobs to running; ``started_ago_s`` says for how long they have been that."""
    if not started_ago_s:
        return
    now = database_now(connection)
    change = update(jobs).where(jobs.c.id == bindparam("job_id"), jobs.c.state == "queued")
    started_at = {key: now - timedelta(seconds=ago_s) for key, ago_s in started_ago_s.items()}
    rows = [{"job_id": key, "state": "running", "started_at": at} for key, at in started_at.items()]
    connection.execute(change, rows)


def _record_steps(connection: Connection, steps: Sequence[ProgressStep]) -> None:
    """Write steps of open jobs into their rows and streams."""
    if not steps:
        return
    last: dict[str, dict[str, Any]] = {}
    events: list[tuple[str, dict[str, Any]]] = []
    for step in steps:
        shown = {"stage": step.stage, "step": step.step, "steps": step.steps}
        last[step.job_id] = shown | {"job_id": step.job_id, "image_index": step.index}
        data = shown | {"index": step.index}
        if step.preview_key is not None:
            data["preview"] = preview_name(step.job_id, step.preview_key)
        events.append((step.job_id, data))
    change = update(jobs).where(jobs.c.id == bindparam("job_id"))
    connection.execute(change, list(last.values()))
    append_events(connection, "progress", events)


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
        "model": job.model,
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
