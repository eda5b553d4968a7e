"""From table rows to records: the queries that :class:`serve.db.Database` shares."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from cascade_core.handoff import ModelRef
from cascade_core.request import GenerationRequest
from serve.records import OPEN_STATES, ImageRow, Job, JobOwner, LatentRow, NewJob, utc_now
from serve.tables import events, images, jobs, latents

_MEAN_OVER_JOBS = 20

Row = Mapping[str, Any] | RowMapping


def load_jobs(connection: Connection, rows: Sequence[Any]) -> list[Job]:
    """Build jobs from rows of ``jobs``, with their images, positions and estimates."""
    ids = [row["id"] for row in rows]
    planned = select(images).where(images.c.job_id.in_(ids)).order_by(images.c.index)
    by_job: dict[str, list[ImageRow]] = {job_id: [] for job_id in ids}
    if ids:
        for row in connection.execute(planned).mappings():
            by_job[row["job_id"]].append(image_from(row))
    ahead = positions(connection, [row["id"] for row in rows if row["state"] == "queued"])
    open_kinds = {row["kind"] for row in rows if row["state"] in OPEN_STATES}
    means = {kind: mean_job_s(connection, kind) for kind in open_kinds}
    return [
        _job_from(row, tuple(by_job[row["id"]]), ahead.get(row["id"]), means.get(row["kind"]))
        for row in rows
    ]


def positions(connection: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    """Return for each job how many open jobs were created before it."""
    if not job_ids:
        return {}
    before = select(jobs.c.id).where(jobs.c.state.in_(OPEN_STATES), jobs.c.id < max(job_ids))
    open_ids = sorted(connection.execute(before).scalars())
    return {job_id: bisect_left(open_ids, job_id) for job_id in job_ids}


def mean_job_s(connection: Connection, kind: str) -> float | None:
    """Return the mean run time in seconds of the last jobs of a kind; None if there are none."""
    query = select(jobs.c.started_at, jobs.c.finished_at).where(
        jobs.c.state == "succeeded", jobs.c.kind == kind
    )
    latest = connection.execute(query.order_by(jobs.c.id.desc()).limit(_MEAN_OVER_JOBS))
    seconds = [(end - start).total_seconds() for start, end in latest if start and end]
    return sum(seconds) / len(seconds) if seconds else None


def queued_eta_s(position: int, mean_s: float | None) -> float | None:
    """Return the seconds until a queued job is probably done; None when nothing is known."""
    return None if mean_s is None else round(mean_s * (position + 1), 2)


def image_from(row: Row) -> ImageRow:
    """Build an image from its row."""
    return ImageRow(**row)


def latent_from(row: Row) -> LatentRow:
    """Build a latent from its row."""
    model = ModelRef(row["model_id"], row["model_revision"], row["model_fingerprint"])
    names = ("id", "job_id", "index", "created_at", "deleted_at")
    request = GenerationRequest.from_dict(row["request"])
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
    }


def planned_values(job: NewJob) -> list[dict[str, Any]]:
    """Return the columns of a job's planned images."""
    shared = {
        "job_id": job.id,
        "width": job.request.width,
        "height": job.request.height,
        "format": job.request.format,
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


def _job_from(
    row: Row, planned: tuple[ImageRow, ...], position: int | None, mean_s: float | None
) -> Job:
    is_running = row["state"] == "running"
    has_step = is_running and row["step"] is not None
    progress = {"step": row["step"], "steps": row["steps"], "index": row["image_index"]}
    return Job(
        id=row["id"],
        state=row["state"],
        stage=row["stage"] if is_running else None,
        progress=progress if has_step else None,
        position=position,
        eta_s=_eta_s(row, position, mean_s),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        request=GenerationRequest.from_dict(row["request"]),
        client_state=row["client_state"],
        owner=JobOwner(row["owner"], row["user"]),
        images=planned,
        warnings=tuple(row["warnings"]),
        error=row["error"],
        cost_s={stage: row[f"{stage}_s"] for stage in ("c", "b", "a")},
    )


def _eta_s(row: Row, position: int | None, mean_s: float | None) -> float | None:
    if mean_s is None or row["state"] not in OPEN_STATES:
        return None
    if row["state"] == "queued":
        return queued_eta_s(position or 0, mean_s)
    running_s: float = (utc_now() - row["started_at"]).total_seconds()
    return round(max(0.0, mean_s - running_s), 2)
