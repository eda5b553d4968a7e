"""From table rows to records: the queries that :class:`serve.storage.database.Database` shares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, or_, select, update

from cascade_core.errors import DeadlineExceeded, RateLimited
from cascade_core.handoff import ModelRef
from cascade_core.request import GenerationRequest
from serve.storage.job_deadline import time_allowed_s
from serve.storage.queue_positions import Place, Waiting, places
from serve.storage.records import (
    OPEN_STATES,
    ImageRow,
    Job,
    JobOwner,
    JobState,
    LatentRow,
    NewJob,
    OpenLimits,
    utc_now,
)
from serve.storage.schema.tables import (
    MAX_INBOX_CHARS,
    database_now,
    events,
    images,
    jobs,
    latents,
    sleeping_stages,
)
from serve.workload import job_work, stages_of

_MEAN_OVER_JOBS = 20
UNKNOWN_JOB_S = 5.0

Row = Mapping[str, Any] | RowMapping


def load_jobs(connection: Connection, rows: Sequence[Any]) -> list[Job]:
    """Build jobs from rows of ``jobs``, with their images, positions and estimates."""
    ids = [row["id"] for row in rows]
    planned = select(images).where(images.c.job_id.in_(ids)).order_by(images.c.index)
    by_job: dict[str, list[ImageRow]] = {job_id: [] for job_id in ids}
    if ids:
        for row in connection.execute(planned).mappings():
            by_job[row["job_id"]].append(image_from(row))
    is_any_open = any(row["state"] in OPEN_STATES for row in rows)
    ahead = outlook(connection) if is_any_open else Outlook({}, 0, None, "")
    return [_job_from(row, tuple(by_job[row["id"]]), ahead) for row in rows]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What tells how long an open job will take.

    Attributes:
        places: of the queued jobs.
        running: how many jobs are worked on at once.
        seconds_per_work: run time of a job by its work, lately; None if nothing is known.
        sleeping: stages without a replica; how long one takes to start is anybody's guess.
    """

    places: dict[str, Place]
    running: int
    seconds_per_work: float | None
    sleeping: str

    def queued_eta_s(self, job_id: str, work: float) -> float | None:
        """Return the seconds until a queued job is probably done; None when nothing is known."""
        place = self.places.get(job_id)
        if place is None or self.seconds_per_work is None:
            return None
        waiting_s = place.work_ahead * self.seconds_per_work / max(1, self.running)
        return round(waiting_s + work * self.seconds_per_work, 2)

    def is_held_up(self, stages: str) -> bool:
        """Tell whether one of the stages has to start first."""
        return not set(stages).isdisjoint(self.sleeping)

    def running_eta_s(self, started_at: datetime, work: float) -> float | None:
        """Return the seconds until a running job is probably done."""
        if self.seconds_per_work is None:
            return None
        running_s: float = (utc_now() - started_at).total_seconds()
        return round(max(0.0, work * self.seconds_per_work - running_s), 2)


def outlook(connection: Connection) -> Outlook:
    """Look at all open jobs and at the last ones that succeeded."""
    names = (jobs.c.id, jobs.c.owner, jobs.c.user, jobs.c.work, jobs.c.state)
    rows = connection.execute(select(*names).where(jobs.c.state.in_(OPEN_STATES)))
    waiting = [
        Waiting(row.id, JobOwner(row.owner, row.user).turns, row.work, row.state == "running")
        for row in rows
    ]
    running = sum(job.is_running for job in waiting)
    sleeping = "".join(connection.execute(select(sleeping_stages.c.name)).scalars())
    return Outlook(places(waiting), running, _seconds_per_work(connection), sleeping)


def line_up(
    connection: Connection, job_id: str, request: GenerationRequest, min_deadline_s: float
) -> dict[str, Any]:
    """Give a job that was just recorded its deadline; returns where it stands."""
    ahead = outlook(connection)
    eta_s = ahead.queued_eta_s(job_id, job_work(request))
    allowed = timedelta(seconds=time_allowed_s(eta_s, min_deadline_s))
    deadline_at = database_now(connection) + allowed
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(deadline_at=deadline_at))
    told_s = None if ahead.is_held_up(stages_of(request)) else eta_s
    return {"position": ahead.places[job_id].position, "eta_s": told_s}


def _seconds_per_work(connection: Connection) -> float | None:
    # Those that ran into their deadline took at least as long: without them, a service that became
    # too slow for its own deadlines would never learn it.
    was_too_slow = jobs.c.error["code"].as_string() == DeadlineExceeded.code
    # The clock was set back while a job ran, or an archive says so: it tells nothing of the pace,
    # and a pace below 0 would put the deadlines of new jobs into the past.
    is_known = jobs.c.started_at <= jobs.c.finished_at
    query = select(jobs.c.started_at, jobs.c.finished_at, jobs.c.work).where(
        or_(jobs.c.state == "succeeded", was_too_slow), jobs.c.work > 0, is_known
    )
    latest = list(connection.execute(query.order_by(jobs.c.id.desc()).limit(_MEAN_OVER_JOBS)))
    if not latest:
        return None
    seconds = sum((end - start).total_seconds() for start, end, _ in latest)
    return float(seconds / sum(work for _, _, work in latest))


def last_event_data(job: Job) -> dict[str, Any]:
    """Return what the event that ends a job's stream says: the job, without its client's state."""
    return {"job": replace(job, client_state=None).to_json()}


def jobs_query(
    *,
    state: JobState | None,
    user: str | None,
    cursor: str | None,
    owner: str | None,
    inbox: str | None,
) -> Select[Any]:
    """Return the query of the jobs that all given values fit, newest first."""
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


def inbox_of(client_state: dict[str, Any] | None) -> str | None:
    """Return the inbox that a client's state names; None: none that could be asked for."""
    inbox = (client_state or {}).get("inbox")
    # PostgreSQL keeps no NUL in text.
    is_one = isinstance(inbox, str) and len(inbox) <= MAX_INBOX_CHARS and "\0" not in inbox
    return inbox if is_one else None


def check_limits(connection: Connection, owner: JobOwner, limits: OpenLimits) -> None:
    """Refuse a job when too many are open.

    Raises:
        RateLimited: says after how many seconds one of those in the way is probably done.
    """
    _check_limit(connection, limits.per_user, "you have", *_of_owner(owner))
    _check_limit(connection, limits.total, "there are")


def _of_owner(owner: JobOwner) -> tuple[Any, Any]:
    """Return the conditions of the jobs of one end user of one API key."""
    return (
        jobs.c.owner.is_not_distinct_from(owner.key_id),
        jobs.c.user.is_not_distinct_from(owner.user),
    )


def _check_limit(connection: Connection, limit: int, whose: str, *conditions: Any) -> None:
    query = select(func.count(), func.avg(jobs.c.work))
    count, work = connection.execute(query.where(jobs.c.state.in_(OPEN_STATES), *conditions)).one()
    if count < limit:
        return
    seconds_per_work = _seconds_per_work(connection)
    job_s = UNKNOWN_JOB_S if seconds_per_work is None else seconds_per_work * work
    message = f"{whose} {count} jobs open, and {limit} are allowed; try again later"
    raise RateLimited(message, retry_after_s=max(1.0, job_s))


def image_from(row: Row) -> ImageRow:
    """Build an image from its row."""
    return ImageRow(**row)


def latent_from(row: Row) -> LatentRow:
    """Build a latent from its row."""
    model = ModelRef(row["model_id"], row["model_revision"], row["model_fingerprint"])
    names = ("id", "job_id", "index", "created_at", "deleted_at")
    request = GenerationRequest.from_stored(row["request"])
    return LatentRow(model=model, request=request, **{name: row[name] for name in names})


def latent_values(row: LatentRow) -> dict[str, Any]:
    """Return a latent's columns."""
    return {
        "id": row.id,
        "job_id": row.job_id,
        "index": row.index,
        "model_id": row.model.id,
        "model_revision": row.model.revision,
        "model_fingerprint": row.model.fingerprint,
        "request": row.request.to_dict(),
        "created_at": row.created_at,
        "deleted_at": row.deleted_at,
        "content": latent_content(row.model.fingerprint, row.request),
    }


def equal_latent(
    connection: Connection, fingerprint: str, request: GenerationRequest, owner: JobOwner
) -> LatentRow | None:
    """Return a latent that Stage C would make again.

    Only one of the same API key and end user: how fast an answer comes, and what it costs, must not
    tell what others drew.
    """
    made_by_owner = select(jobs.c.id).where(*_of_owner(owner))
    query = select(latents).where(
        latents.c.content == latent_content(fingerprint, request),
        latents.c.deleted_at.is_(None),
        latents.c.job_id.in_(made_by_owner),
    )
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else latent_from(row)


def latent_content(fingerprint: str, request: GenerationRequest) -> str:
    """Return a digest of everything that determines a Stage C latent: equal ones are the same."""
    given = [
        fingerprint,
        request.prompt,
        request.negative_prompt,
        request.width,
        request.height,
        request.seed,
        request.steps,
        request.guidance_scale,
    ]
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()


def planned_values(job: NewJob) -> list[dict[str, Any]]:
    """Return the columns of a job's planned images."""
    shared = {
        "job_id": job.id,
        "width": job.request.width,
        "height": job.request.height,
        "format": job.request.format,
        "stage_c": None if job.request.kind == "generate" else "stored",
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


def ready_image(connection: Connection, image_id: str) -> ImageRow | None:
    """Return an image if it is ready, deleted or not."""
    query = select(images).where(images.c.id == image_id, images.c.ready_at.is_not(None))
    row = connection.execute(query).mappings().first()
    return None if row is None else image_from(row)


def is_latent_needed(connection: Connection, image: ImageRow) -> bool:
    """Tell whether another image's claim keeps this image's latent alive."""
    latent = select(latents).where(latents.c.id == image.latent_id)
    row = connection.execute(latent).mappings().first()
    if row is None or (row["job_id"], row["index"]) == (image.job_id, image.index):
        return False
    others = select(images.c.id).where(
        images.c.latent_id == image.latent_id, images.c.deleted_at.is_(None)
    )
    return connection.execute(others.limit(1)).first() is not None


def preview_names(connection: Connection, image: ImageRow) -> tuple[str, ...]:
    """Return the names of all previews that were made of an image."""
    query = select(events.c.data).where(
        events.c.job_id == image.job_id, events.c.type == "progress"
    )
    urls = [
        data["preview_url"]
        for data in connection.execute(query).scalars()
        if data["index"] == image.index and "preview_url" in data
    ]
    return tuple(dict.fromkeys(url.rpartition("/")[2] for url in urls))


def _job_from(row: Row, planned: tuple[ImageRow, ...], ahead: Outlook) -> Job:
    is_running = row["state"] == "running"
    has_step = is_running and row["step"] is not None
    progress = {"step": row["step"], "steps": row["steps"], "index": row["image_index"]}
    request = GenerationRequest.from_stored(row["request"])
    return Job(
        id=row["id"],
        state=row["state"],
        stage=row["stage"] if is_running else None,
        progress=progress if has_step else None,
        position=ahead.places[row["id"]].position if row["id"] in ahead.places else None,
        eta_s=_eta_s(row, request, ahead),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        deadline_at=row["deadline_at"],
        request=request,
        client_state=row["client_state"],
        owner=JobOwner(row["owner"], row["user"]),
        images=planned,
        warnings=tuple(row["warnings"]),
        error=row["error"],
        cost_s={stage: row[f"{stage}_s"] for stage in ("c", "b", "a")},
    )


def _eta_s(row: Row, request: GenerationRequest, ahead: Outlook) -> float | None:
    stages = stages_of(request)
    if ahead.is_held_up(stages[stages.find(row["stage"]) :] if row["stage"] else stages):
        return None
    if row["state"] == "queued":
        return ahead.queued_eta_s(row["id"], row["work"])
    if row["state"] == "running":
        return ahead.running_eta_s(row["started_at"], row["work"])
    return None
