"""Jobs, images and latents in SQL, and the events that tell of their changes.

Every method is one transaction and blocks; call it from a thread.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

from sqlalchemy import Connection, Update, delete, insert, or_, select, update

from cascade_core.errors import Conflict, IdempotencyMismatch, NotReady
from cascade_core.request import GenerationRequest
from serve.release import RELEASE
from serve.storage.blobs.blob_store import preview_name
from serve.storage.connections import Connections
from serve.storage.job_deadline import AT_LEAST_S
from serve.storage.records import (
    OPEN_STATES,
    Claim,
    DeletedImage,
    ImageRow,
    Job,
    JobOwner,
    JobState,
    LatentRow,
    NewJob,
    OpenJob,
    OpenLimits,
    PlannedImage,
    StageCUse,
    utc_now,
)
from serve.storage.rows import (
    check_limits,
    equal_latent,
    image_from,
    inbox_of,
    is_latent_needed,
    jobs_query,
    last_event_data,
    latent_from,
    latent_values,
    line_up,
    load_jobs,
    planned_values,
    preview_names,
    ready_image,
)
from serve.storage.schema.tables import (
    database_now,
    events,
    images,
    jobs,
    latents,
    lock_events,
    sleeping_stages,
)
from serve.storage.schema.upgrade import Migrated, upgrade
from serve.workload import job_work

__all__ = ["Database", "ImageRow", "Job", "LatentRow", "NewJob", "PlannedImage"]

Stage = Literal["c", "b", "a"]
_INSERT_ATTEMPTS = 5


class Database(Connections):
    """The service's metadata; see :class:`serve.storage.connections.Connections`."""

    def create_tables(self) -> Migrated:
        """Bring the tables to this release's schema; safe when several processes start at once.

        Raises:
            DatabaseNewer: a later release has migrated the database already.
        """
        with self.translated():
            return upgrade(self._engine)

    def probe(self) -> None:
        """Check that the database answers and has its tables."""
        with self.reading() as connection:
            connection.execute(select(jobs.c.id).limit(1)).first()

    def probe_writing(self) -> None:
        """Check that the database takes what is written: a file may be read-only, a disk full."""
        probe = {"name": "probe"}
        with self.writing() as connection:
            connection.execute(insert(sleeping_stages).values(probe))
            connection.execute(delete(sleeping_stages).where(sleeping_stages.c.name == "probe"))

    def insert_job(self, job: NewJob, limits: OpenLimits | None = None) -> str | None:
        """Accept a job with its planned images and append the event ``queued``.

        Returns:
            None; or, and nothing changed, the id of the job that this request became before.

        Raises:
            IdempotencyMismatch: the id or key was used for another request.
            RateLimited: more jobs are open than ``limits`` allow.
            NotReady: also when the request's key changed hands in every attempt.
        """
        for _ in range(_INSERT_ATTEMPTS):
            earlier_id = self.accepted_before(job.claim)
            if earlier_id is not None:
                return earlier_id
            if limits is not None:  # a flood of refusals does not take turns with those who write
                with self.reading() as connection:
                    check_limits(connection, job.owner, limits)
            with suppress(Conflict):  # the same request came in at the same time
                self._insert_job(job, limits)
                return None
            # It may have been given up since, which frees its key: then this one is new after all.
        raise NotReady("the same request comes in and is given up again and again; try again")

    def accepted_before(self, claim: Claim) -> str | None:
        """Return the id of the job that the same request became before; None if it is new.

        Raises:
            IdempotencyMismatch: the id or key was used for another request.
        """
        same = jobs.c.id == claim.job_id
        if claim.key is not None:
            same = or_(same, jobs.c.idempotency_key == claim.key)
        with self.reading() as connection:
            rows = list(connection.execute(select(jobs.c.id, jobs.c.body_digest).where(same)))
        if any(row.body_digest != claim.body for row in rows) or len(rows) > 1:
            raise IdempotencyMismatch("this id or Idempotency-Key was used for another request")
        return str(rows[0].id) if rows else None

    def _insert_job(self, job: NewJob, limits: OpenLimits | None) -> None:
        work = job_work(job.request)
        with self.writing() as connection:
            lock_events(connection)  # two that come at once must not both be the last one allowed
            if limits is not None:
                check_limits(connection, job.owner, limits)
            connection.execute(
                insert(jobs).values(
                    id=job.id,
                    kind=job.request.kind,
                    state="queued",
                    request=job.request.to_dict(),
                    client_state=job.client_state,
                    inbox=inbox_of(job.client_state),
                    owner=job.owner.key_id,
                    user=job.owner.user,
                    label=job.owner.label,
                    warnings=[],
                    created_at=database_now(connection),
                    idempotency_key=job.claim.key,
                    body_digest=job.claim.body,
                    work=work,
                    release=RELEASE,
                    context=job.context or None,
                )
            )
            connection.execute(insert(images), planned_values(job))
            min_deadline_s = AT_LEAST_S if limits is None else limits.min_deadline_s
            data = line_up(connection, job.id, job.request, min_deadline_s)
            _append(connection, job.id, "queued", data)

    def job(self, job_id: str) -> Job | None:
        """Return a job as it stands."""
        with self.reading() as connection:
            return self._load(connection, job_id)

    def owner_of(self, job_id: str) -> JobOwner | None:
        """Return to whom a job belongs; None if there is no such job."""
        query = select(jobs.c.owner, jobs.c.user).where(jobs.c.id == job_id)
        with self.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else JobOwner(row.owner, row.user)

    def open_job(self, job_id: str) -> OpenJob | None:
        """Return what an open job needs to run; None if it has ended or is unknown."""
        names = (jobs.c.request, jobs.c.owner, jobs.c.user, jobs.c.created_at, jobs.c.context)
        query = select(*names).where(jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES))
        planned = select(images).where(images.c.job_id == job_id).order_by(images.c.index)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            rows = connection.execute(planned).mappings()
            request = GenerationRequest.from_stored(row["request"])
            owner = JobOwner(row["owner"], row["user"])
            found = tuple(map(image_from, rows))
            return OpenJob(job_id, request, owner, row["created_at"], found, row["context"] or {})

    def list_jobs(
        self,
        state: JobState | None = None,
        user: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        owner: str | None = None,
        inbox: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Return jobs, newest first, and the cursor of the next page or None.

        ``user`` is an end user or a label, ``owner`` the id of an API key, ``inbox`` what the
        client's state says.
        """
        query = jobs_query(state=state, user=user, cursor=cursor, owner=owner, inbox=inbox)
        query = query.limit(limit + 1)
        with self.reading() as connection:
            rows = list(connection.execute(query).mappings())
            found = load_jobs(connection, rows[:limit])
        return found, found[-1].id if len(rows) > limit else None

    def is_open(self, job_id: str) -> bool:
        """Tell whether a job is known and has not ended."""
        query = select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES))
        with self.reading() as connection:
            return connection.execute(query).first() is not None

    def open_job_ids(self) -> list[str]:
        """Return the queued and running jobs, oldest first."""
        query = select(jobs.c.id).where(jobs.c.state.in_(OPEN_STATES)).order_by(jobs.c.id)
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def start_job(self, job_id: str) -> bool:
        """Move a job from queued to running; False if it is not queued."""
        change = update(jobs).where(jobs.c.id == job_id, jobs.c.state == "queued")
        with self.writing() as connection:
            values = {"state": "running", "started_at": database_now(connection)}
            return connection.execute(change.values(values)).rowcount == 1

    def progress(
        self,
        job_id: str,
        stage: str,
        step: int,
        steps: int,
        index: int,
        preview_key: str | None = None,
    ) -> None:
        """Note a step in the job and append the event ``progress``; ignored once it has ended."""
        data: dict[str, Any] = {"stage": stage, "step": step, "steps": steps, "index": index}
        values = {"stage": stage, "step": step, "steps": steps, "image_index": index}
        if preview_key is not None:
            name = preview_name(job_id, preview_key)
            data["preview_url"] = f"/v1/jobs/{job_id}/previews/{name}"
        with self.writing() as connection:
            if _update_open(connection, job_id, values):
                _append(connection, job_id, "progress", data)

    def add_cost(self, job_id: str, stage: Stage, seconds: float) -> None:
        """Add a stage's compute time to the job's cost."""
        with self.writing() as connection:
            connection.execute(_costs(job_id, stage, seconds))

    def save_latent(self, row: LatentRow, seconds: float = 0.0, use: StageCUse = "ran") -> None:
        """Note a stored latent, its cost and how it came about; the first call counts."""
        image = update(images).where(images.c.job_id == row.job_id, images.c.index == row.index)
        known = select(latents.c.id).where(latents.c.id == row.id)
        with suppress(Conflict), self.writing() as connection:
            if connection.execute(known).first() is None:
                connection.execute(insert(latents).values(**latent_values(row)))
                connection.execute(image.values(stage_c=use))
                connection.execute(_costs(row.job_id, "c", seconds))

    def latent(self, latent_id: str) -> LatentRow | None:
        """Return a latent, also a deleted one."""
        query = select(latents).where(latents.c.id == latent_id)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else latent_from(row)

    def equal_latent(
        self, fingerprint: str, request: GenerationRequest, owner: JobOwner
    ) -> LatentRow | None:
        """Return a latent that Stage C would make again for this request of one image."""
        with self.reading() as connection:
            return equal_latent(connection, fingerprint, request, owner)

    def save_image(self, image_id: str, size_bytes: int, seconds: float = 0.0) -> bool:
        """Mark a planned image as ready, note Stage A's cost and append the event ``image``.

        Returns:
            False if it was ready already, is unknown, or its job has ended meanwhile.
        """
        planned = select(images).where(images.c.id == image_id)
        ready = update(images).where(images.c.id == image_id, images.c.ready_at.is_(None))
        values = {"size_bytes": size_bytes, "seconds": seconds, "ready_at": utc_now()}
        with self.writing() as connection:
            row = connection.execute(planned).mappings().first()
            if row is None or not _update_open(connection, row["job_id"], {}):
                return False
            if connection.execute(ready.values(**values)).rowcount == 0:
                return False
            connection.execute(_costs(row["job_id"], "a", seconds))
            names = ("index", "id", "latent_id", "seed", "decoder_seed")
            data = {name: row[name] for name in names} | {"url": f"/v1/images/{image_id}"}
            _append(connection, row["job_id"], "image", data)
        return True

    def image(self, image_id: str) -> ImageRow | None:
        """Return an image that is ready, also a deleted one."""
        with self.reading() as connection:
            return ready_image(connection, image_id)

    def delete_image(self, image_id: str) -> DeletedImage | None:
        """Mark an image deleted, and its latent with it.

        The latent stays while it belongs to another image: a variation does not take the
        original's latent along. Deleting again is no error and covers the same things.
        """
        now = utc_now()
        with self.writing() as connection:
            image = ready_image(connection, image_id)
            if image is None:
                return None
            gone = update(images).where(images.c.id == image_id, images.c.deleted_at.is_(None))
            connection.execute(gone.values(deleted_at=now))
            latent_id = None if is_latent_needed(connection, image) else image.latent_id
            wiped = update(latents).where(latents.c.id == latent_id, latents.c.deleted_at.is_(None))
            connection.execute(wiped.values(deleted_at=now))
            return DeletedImage(image, latent_id, preview_names(connection, image))

    def finish_job(self, job_id: str, state: JobState, error: dict[str, Any] | None = None) -> bool:
        """End an open job and append its last event, which carries the job as it ended.

        The event leaves out ``client_state``: it stays for ever, while clients keep there what
        they take away later, such as a chat's token.

        Returns:
            True for exactly one caller; False when the job had ended already.
        """
        with self.writing() as connection:
            values = {"state": state, "error": error, "finished_at": database_now(connection)}
            if not _update_open(connection, job_id, values):
                return False
            job = self._load(connection, job_id)
            if job is not None:
                _append(connection, job_id, state, last_event_data(job))
        return True

    def _load(self, connection: Connection, job_id: str) -> Job | None:
        rows = list(connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings())
        return load_jobs(connection, rows)[0] if rows else None


def _append(connection: Connection, job_id: str, kind: str, data: dict[str, Any]) -> None:
    lock_events(connection)
    connection.execute(insert(events).values(job_id=job_id, type=kind, data=data, at=utc_now()))


def _costs(job_id: str, stage: Stage, seconds: float) -> Update:
    column = jobs.c[f"{stage}_s"]
    return update(jobs).where(jobs.c.id == job_id).values({column: column + seconds})


def _update_open(connection: Connection, job_id: str, values: dict[str, Any]) -> bool:
    """Change a job that has not ended; with no values only lock it. False if it has ended."""
    change = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(OPEN_STATES))
    return connection.execute(change.values(values or {"id": job_id})).rowcount == 1
