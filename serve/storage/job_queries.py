"""Reads of jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, func, or_, select, union

from cascade_core.errors import CascadeError, RecordNewer
from cascade_core.job_states import LIVE_STATES, OPEN_STATES, TERMINAL_STATES, JobState
from cascade_core.request import GenerationRequest
from serve.release import is_later
from serve.storage.connections import Connections
from serve.storage.job_parts.choice import Choice
from serve.storage.job_parts.parts import run_id, stored_part
from serve.storage.job_parts.redo import redos_from
from serve.storage.job_parts.rejection import rejections_from
from serve.storage.job_queue.estimates import QueueEstimate, QueueEstimates
from serve.storage.job_queue.positions import JobInQueue
from serve.storage.lineage import Viewpoint, select_images
from serve.storage.records import ImageRow, Job, JobOwner, OpenJob, utc_now
from serve.storage.schema.tables import database_now, events, images, jobs

MAX_ENDED_SHOWN: Final = 100
"""Most ended jobs that a caller is shown when its stream of events begins."""
_NEWEST: Final = 1000

Row = Mapping[str, Any] | RowMapping


class JobQueries:
    """Reads jobs; every method is one transaction and blocks.

    Args:
        connections: of the database.
        clock: seconds of this process that only grow.
    """

    def __init__(
        self, connections: Connections, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connections = connections
        self._estimates = QueueEstimates(clock)

    def get(self, job_id: str) -> Job | None:
        """Return a job as it stands.

        Raises:
            RecordNewer: only a later release can read it.
        """
        query = select(jobs).where(jobs.c.id == job_id)
        with self._connections.reading() as connection:
            found = self._load(connection, list(connection.execute(query).mappings()))
        return found[0] if found else None

    def owner_of(self, job_id: str) -> JobOwner | None:
        """Return the owner of a job; None if there is no such job."""
        query = select(jobs.c.owner, jobs.c.user).where(jobs.c.id == job_id)
        with self._connections.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else JobOwner(row.owner, row.user)

    def open_job(self, job_id: str) -> OpenJob | None:
        """Return what an open job needs to run; None if it is not open or unknown.

        Raises:
            RecordNewer: a later release has accepted it, and runs it.
        """
        of_job = (jobs.c.request, jobs.c.owner, jobs.c.user, jobs.c.context, jobs.c.choice)
        query = select(*of_job, jobs.c.redos, jobs.c.rejections, jobs.c.created_at, jobs.c.release)
        query = query.where(jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES))
        with self._connections.reading() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            if is_later(row["release"]):  # it may ask for what this release leaves out
                raise record_newer()
            request = request_from(row["request"])
            choice, redos = _choice_from(row), redos_from(row["redos"])
            begun_at = redos[-1].at if redos else row["created_at"]
            return OpenJob(
                id=job_id,
                request=request if choice is None else choice.applied_to(request),
                owner=JobOwner(row["owner"], row["user"]),
                created_at=begun_at if choice is None else choice.at,
                images=tuple(_images_by_job(connection, [job_id])[job_id]),
                context=row["context"] or {},
                choice=choice,
                redos=redos,
                rejections=rejections_from(row["rejections"]),
            )

    def page(
        self,
        state: JobState | None = None,
        user: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        owner: str | None = None,
        inbox: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Return jobs, newest first, and the cursor of the next page or None.

        Those that only a later release can read are left out: a page may have fewer than ``limit``.

        Args:
            state: of the jobs.
            user: an end user or a label.
            cursor: of this page; None: the first.
            limit: most jobs of a page.
            owner: the id of an API key.
            inbox: named in the client's state.
        """
        query = _matching(state=state, user=user, cursor=cursor, owner=owner, inbox=inbox)
        query = query.limit(limit + 1)
        with self._connections.reading() as connection:
            rows = list(connection.execute(query).mappings())
            found = self._load(connection, rows[:limit], omits_newer=True)
        return found, rows[limit - 1]["id"] if len(rows) > limit else None

    def is_open(self, job_id: str) -> bool:
        """Return True if a job is known and queued or running."""
        query = select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES))
        with self._connections.reading() as connection:
            return connection.execute(query).first() is not None

    def open_ids(self) -> list[str]:
        """Return the queued and running jobs, oldest first."""
        query = select(jobs.c.id).where(jobs.c.state.in_(OPEN_STATES)).order_by(jobs.c.id)
        with self._connections.reading() as connection:
            return list(connection.execute(query).scalars())

    def live_ids(self, viewpoint: Viewpoint, ended_since: datetime | None) -> list[str]:
        """Return the jobs that have not ended, with those that ended since a time, oldest first.

        Args:
            viewpoint: others are left out.
            ended_since: of the newest 1000 jobs those that ended since are taken, the newest
                `MAX_ENDED_SHOWN` at most; None: none.
        """
        live = select(jobs.c.id).where(jobs.c.state.in_(LIVE_STATES), *viewpoint.conditions)
        with self._connections.reading() as connection:
            found = set(connection.execute(live).scalars())  # first: a job may end now
            if ended_since is not None:
                ended = _newest_ended(viewpoint, ended_since)
                found.update(connection.execute(ended).scalars())
        return sorted(found)

    def with_last_event_ids(self, job_ids: Collection[str]) -> list[tuple[Job, int]]:
        """Return jobs as they stand, oldest first, each with its last event.

        Unknown jobs are left out, and those that only a later release can read. A job may say
        a little more than its events up to that one, never less.
        """
        last = select(events.c.job_id, func.max(events.c.id)).where(events.c.job_id.in_(job_ids))
        query = select(jobs).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id)
        with self._connections.reading() as connection:
            read = connection.execute(last.group_by(events.c.job_id))
            last_ids: dict[str, int] = {job_id: last_id for job_id, last_id in read}
            rows = list(connection.execute(query).mappings())
            found = self._load(connection, rows, omits_newer=True)
        return [(job, last_ids.get(job.id, 0)) for job in found]

    def owners_of_begun(
        self, key_ids: Collection[str | None], first_id: str
    ) -> dict[str, JobOwner]:
        """Return the owners of the open jobs, and of all jobs from an id on, by job id.

        Args:
            key_ids: of the API keys that made the jobs; None among them: any.
            first_id: ids sort by time.
        """
        owned = select(jobs.c.id, jobs.c.owner, jobs.c.user)
        if None not in key_ids:
            owned = owned.where(jobs.c.owner.in_(key_ids))
        is_open, is_young = jobs.c.state.in_(OPEN_STATES), jobs.c.id >= first_id
        with self._connections.reading() as connection:
            found = connection.execute(union(owned.where(is_open), owned.where(is_young)))
            return {row.id: JobOwner(row.owner, row.user) for row in found}

    def runnable_ids(self, min_age: timedelta) -> list[str]:
        """Return the runs of open jobs of at least an age, oldest first; none of a later release.

        See :func:`serve.storage.job_parts.parts.run_id`.
        """
        with self._connections.reading() as connection:
            is_old = jobs.c.created_at < database_now(connection) - min_age
            query = select(jobs.c.id, jobs.c.release, jobs.c.choice, jobs.c.redos)
            rows = connection.execute(
                query.where(jobs.c.state.in_(OPEN_STATES), is_old).order_by(jobs.c.id)
            )
            return [
                run_id(row.id, stored_part(row.choice, row.redos))
                for row in rows
                if not is_later(row.release)
            ]

    def of_later_releases(self, job_ids: Collection[str]) -> set[str]:
        """Return which of these jobs a later release has accepted."""
        query = select(jobs.c.id, jobs.c.release).where(jobs.c.id.in_(job_ids))
        with self._connections.reading() as connection:
            return {row.id for row in connection.execute(query) if is_later(row.release)}

    def count(self, ended_within: timedelta | None = None) -> dict[str, int]:
        """Return the number of jobs by state.

        Args:
            ended_within: also count the jobs that ended within this time; None: open jobs only.
        """
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._connections.reading() as connection:
            found = list(connection.execute(query.where(jobs.c.state.in_(OPEN_STATES))))
            if ended_within is not None:
                is_recent = jobs.c.finished_at >= utc_now() - ended_within
                found += connection.execute(
                    query.where(jobs.c.state.in_(TERMINAL_STATES), is_recent)
                )
            return {state: count for state, count in found}

    def _load(
        self, connection: Connection, rows: Sequence[Row], *, omits_newer: bool = False
    ) -> list[Job]:
        """Build jobs from rows of ``jobs``, with their images, positions and estimates."""
        by_job = _images_by_job(connection, [row["id"] for row in rows])
        is_any_open = any(row["state"] in OPEN_STATES for row in rows)
        estimate = self._estimates.read(connection) if is_any_open else None
        found = []
        for row in rows:
            try:
                found.append(_job_from(row, tuple(by_job[row["id"]]), estimate))
            except RecordNewer:
                if not omits_newer:
                    raise
        return found


def _newest_ended(viewpoint: Viewpoint, since: datetime) -> Select[Any]:
    """Return the query of the ids of the jobs that ended since a time; it reads few rows."""
    of_caller = select(jobs.c.id, jobs.c.finished_at).where(*viewpoint.conditions)
    newest = of_caller.order_by(jobs.c.id.desc()).limit(_NEWEST).subquery()
    ended = select(newest.c.id).where(newest.c.finished_at >= since)
    return ended.order_by(newest.c.id.desc()).limit(MAX_ENDED_SHOWN)


def load_resting_job(connection: Connection, job_id: str) -> Job:
    """Return a job that has ended or waits, since this transaction or before.

    Raises:
        RecordNewer: only a later release can read it.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one()
    return _job_from(row, tuple(_images_by_job(connection, [job_id])[job_id]), None)


def request_from(stored: dict[str, Any]) -> GenerationRequest:
    """Return the request of a job or a latent from its column.

    Raises:
        RecordNewer: this release does not know its kind, or does not allow one of its values.
    """
    try:
        return GenerationRequest.from_stored(stored)
    except CascadeError as error:
        raise record_newer() from error


def record_newer() -> RecordNewer:
    """Return the error of what a later release stored."""
    return RecordNewer("a later release of the service stored this; the running one cannot use it")


def _images_by_job(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[ImageRow]]:
    by_job: dict[str, list[ImageRow]] = {job_id: [] for job_id in job_ids}
    if job_ids:
        query = select_images().where(images.c.job_id.in_(job_ids)).order_by(images.c.index)
        for row in connection.execute(query).mappings():
            by_job[row["job_id"]].append(ImageRow(**row))
    return by_job


def _matching(
    *,
    state: JobState | None,
    user: str | None,
    cursor: str | None,
    owner: str | None,
    inbox: str | None,
) -> Select[Any]:
    """Return the query of the jobs that match all given values, newest first."""
    query = select(jobs).order_by(jobs.c.id.desc())
    if state is not None:
        query = query.where(jobs.c.state == state)
    if user is not None:
        query = query.where(or_(jobs.c.user == user, jobs.c.label == user))
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if inbox is not None:
        query = query.where(jobs.c.inbox == inbox)
    return query if cursor is None else query.where(jobs.c.id < cursor)


def _job_from(row: Row, planned: tuple[ImageRow, ...], estimate: QueueEstimate | None) -> Job:
    """Build a job from its row.

    Args:
        row: of ``jobs``.
        planned: the job's images.
        estimate: None if the job is not open.
    """
    is_running = row["state"] == "running"
    has_step = is_running and row["step"] is not None
    progress = {"step": row["step"], "steps": row["steps"], "index": row["image_index"]}
    position, eta_s = (None, None) if estimate is None else _position_and_eta_s(row, estimate)
    return Job(
        id=row["id"],
        state=row["state"],
        stage=row["stage"] if is_running else None,
        progress=progress if has_step else None,
        position=position,
        eta_s=eta_s,
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        deadline_at=row["deadline_at"],
        request=request_from(row["request"]),
        client_state=row["client_state"],
        owner=JobOwner(row["owner"], row["user"]),
        images=planned,
        warnings=tuple(row["warnings"]),
        error=row["error"],
        cost_s=row["cost"],
        choice=_choice_from(row),
        redos=redos_from(row["redos"]),
        rejections=rejections_from(row["rejections"]),
    )


def _choice_from(row: Row) -> Choice | None:
    return None if row["choice"] is None else Choice.from_stored(row["choice"])


def _position_and_eta_s(row: Row, estimate: QueueEstimate) -> tuple[int | None, float | None]:
    """Return a job's position, None unless it is queued, and its estimate, None if unknown."""
    stages = row["route"]
    left = stages[stages.index(row["stage"]) :] if row["stage"] in stages else stages
    is_unknown = estimate.waits_for_start(left)
    if row["state"] == "queued":
        user = JobOwner(row["owner"], row["user"]).queue_user
        place = estimate.order.place(JobInQueue(row["id"], user, row["work"]))
        eta_s = estimate.queued_eta_s(place, row["work"], row["model"])
        return place.position, None if is_unknown else eta_s
    if row["state"] == "running" and not is_unknown:
        return None, estimate.running_eta_s(row["started_at"], row["work"], row["model"])
    return None, None
