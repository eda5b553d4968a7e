"""Images and the latents that they are made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from cascade_core.errors import Conflict, RecordNewer
from cascade_core.handoff import ModelRef
from cascade_core.job_states import JobState
from cascade_core.operations.fields import LATENT_FIELDS
from cascade_core.request import GenerationRequest
from serve.storage.assets.rows import check_deletable, forget_asset
from serve.storage.blobs.blob_keys import preview_name
from serve.storage.connections import Connections
from serve.storage.events import append_event
from serve.storage.job_parts.parts import CONTINUED, is_redo
from serve.storage.job_parts.redo import redos_from
from serve.storage.job_parts.rejection import Rejection
from serve.storage.job_queries import Row, request_from
from serve.storage.job_store import add_costs, update_open
from serve.storage.library.entries import UNKNOWN, SmallFiles, add_entry, remove_entry
from serve.storage.lineage import is_latent_needed, select_images
from serve.storage.records import (
    ImageRow,
    JobOwner,
    LatentRow,
    LatentUse,
    ProgressStep,
    utc_now,
)
from serve.storage.schema.tables import events, images, jobs, latents, owned_by

NO_HANDOFFS: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DeletedImage:
    """A deleted image, with the names of all bytes that the caller has to remove.

    Attributes:
        latent_ids: the latents that are deleted, too: its own, those before it was composed anew
            as well. One that another image still needs stays.
        preview_names: names of the image's previews, see
            :func:`serve.storage.blobs.blob_keys.preview_name`.
    """

    image: ImageRow
    latent_ids: tuple[str, ...]
    preview_names: tuple[str, ...]


class ImageStore:
    """Writes and reads images and latents; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, image_id: str) -> ImageRow | None:
        """Return an image that is ready, also a deleted one."""
        with self._connections.reading() as connection:
            return _ready_image(connection, image_id)

    def save(
        self,
        image_id: str,
        size_bytes: int,
        stage: str,
        seconds: float = 0.0,
        handoffs_s: Mapping[str, float] = NO_HANDOFFS,
        small: SmallFiles = UNKNOWN,
    ) -> bool:
        """Mark a planned image as ready, add the stages' costs and append the event ``image``.

        If the job has ended meanwhile, only the costs are added: the model ran for it. An image's
        costs are added once, however often this is called.

        Args:
            image_id: of the image.
            size_bytes: of its file.
            stage: that made it.
            seconds: of that stage.
            handoffs_s: of stages before, whose cost is not recorded yet, by stage.
            small: what is known of its thumbnails.

        Returns:
            False if it was ready already, is unknown, or its job has ended meanwhile.
        """
        planned = select(images).where(images.c.id == image_id)
        image = update(images).where(images.c.id == image_id)
        counted = image.where(images.c.seconds.is_(None)).values(seconds=seconds)
        ready = image.where(images.c.ready_at.is_(None))
        values = {"size_bytes": size_bytes, "ready_at": utc_now()}
        with self._connections.writing() as connection:
            row = connection.execute(planned).mappings().first()
            if row is None:
                return False
            is_open = update_open(connection, row["job_id"], {})
            if connection.execute(counted).rowcount:
                add_costs(connection, row["job_id"], {**handoffs_s, stage: seconds})
            if not is_open or not connection.execute(ready.values(**values)).rowcount:
                return False
            names = ("index", "id", "latent_id", "seed", "decoder_seed")
            append_event(connection, row["job_id"], "image", {name: row[name] for name in names})
            add_entry(connection, image_id, small)
        return True

    def delete(self, image_id: str, *, if_made: bool = True) -> DeletedImage | None:
        """Mark an image deleted, and its latents with it; None if there is no such image.

        One that has no picture, but perhaps a composition, is there only without ``if_made``.
        A latent stays while another image has it or an open job starts from it; it goes with the
        last of them. Deleting again is no error and covers the same things.

        Raises:
            AssetProtected: its state as an asset forbids it.
        """
        now = utc_now()
        with self._connections.writing() as connection:
            find = _ready_image if if_made else _image
            lock = select(images.c.id).where(images.c.id == image_id).with_for_update()
            connection.execute(lock).first()  # so that its state as an asset stays as it is
            image = find(connection, image_id)
            if image is None:
                return None
            check_deletable(connection, image_id)
            forget_asset(connection, image_id)
            gone = update(images).where(images.c.id == image_id, images.c.deleted_at.is_(None))
            connection.execute(gone.values(deleted_at=now))
            remove_entry(connection, image.job_id, image.index)
            of_image = latents.c.job_id == image.job_id, latents.c.index == image.index
            own_ids = connection.execute(select(latents.c.id).where(*of_image)).scalars()
            latent_ids = [
                latent_id
                for latent_id in sorted({image.latent_id, *own_ids})
                if not is_latent_needed(connection, latent_id, but_for_image=image.id)
            ]
            with_it = update(latents).where(
                latents.c.id.in_(latent_ids), latents.c.deleted_at.is_(None)
            )
            connection.execute(with_it.values(deleted_at=now))
            return DeletedImage(image, tuple(latent_ids), _preview_names(connection, image))

    def latent(self, latent_id: str) -> LatentRow | None:
        """Return a latent, also a deleted one.

        Raises:
            RecordNewer: only a later release can read it.
        """
        query = select(latents).where(latents.c.id == latent_id)
        with self._connections.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _latent_from(row)

    def composed_as(self, latent: LatentRow) -> tuple[ImageRow, JobState] | None:
        """Return the image that a latent was made for, with its job's state; None: it is gone."""
        of_image = images.c.job_id == latent.job_id, images.c.index == latent.index
        query = select(images.c.id, jobs.c.state).join(jobs, jobs.c.id == images.c.job_id)
        with self._connections.reading() as connection:
            row = connection.execute(query.where(*of_image)).first()
            image = None if row is None else _image(connection, row.id)
        return None if row is None or image is None else (image, row.state)

    def save_latent(
        self,
        row: LatentRow,
        stage: str,
        seconds: float = 0.0,
        use: LatentUse = "ran",
    ) -> None:
        """Record a stored latent, its cost and how it came about; the first call counts.

        That of an image which was deleted meanwhile is recorded as deleted, too.

        ``stage`` and ``seconds`` are those of :meth:`save`.
        """
        of_job = images.c.job_id == row.job_id, images.c.index == row.index
        image = update(images).where(*of_job, images.c.latent_id == row.id)
        known = select(latents.c.id).where(latents.c.id == row.id)
        gone_since = select(images.c.deleted_at).where(
            images.c.job_id == row.job_id, images.c.index == row.index
        )
        with suppress(Conflict), self._connections.writing() as connection:
            if connection.execute(known).first() is None:
                deleted_at = connection.execute(gone_since).scalar()
                values = latent_values(row) | ({"deleted_at": deleted_at} if deleted_at else {})
                connection.execute(insert(latents).values(**values))
                connection.execute(image.values(latent_use=use))
                add_costs(connection, row.job_id, {stage: seconds})

    def save_preview(self, image_id: str, latent_id: str, step: ProgressStep) -> None:
        """Record the preview of a latent after which a job stops, with the event ``progress``.

        Nothing changes if the image has another latent by now.
        """
        image = update(images).where(images.c.id == image_id, images.c.latent_id == latent_id)
        with self._connections.writing() as connection:
            if not update_open(connection, step.job_id, {}):
                return
            name = preview_name(step.job_id, step.preview_key or "")
            if not connection.execute(image.values(preview=name)).rowcount:
                return
            data = {"stage": step.stage, "step": step.step, "steps": step.steps}
            shown = data | {"index": step.index, "preview": name}
            append_event(connection, step.job_id, "progress", shown)

    def find_equal_latent(
        self, fingerprint: str, request: GenerationRequest, owner: JobOwner
    ) -> LatentRow | None:
        """Return a latent that would be made again for this request of one image.

        Only latents of the same API key and end user are found: the time and the cost of an answer
        must not reveal what others generated.
        """
        made_by_owner = select(jobs.c.id).where(*owned_by(owner.key_id, owner.user))
        query = select(latents).where(
            latents.c.content == _content_digest(fingerprint, request),
            latents.c.deleted_at.is_(None),
            latents.c.job_id.in_(made_by_owner),
        )
        with self._connections.reading() as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        with suppress(RecordNewer):
            return None if row is None else _latent_from(row)
        return None

    def exclude_from_reuse(self, latent_id: str) -> None:
        """Keep a latent out of later searches for an equal one."""
        change = update(latents).where(latents.c.id == latent_id).values(content=None)
        with self._connections.writing() as connection:
            connection.execute(change)

    def forget_latent(self, latent_id: str) -> None:
        """Remove the row of a latent that is made again."""
        with self._connections.writing() as connection:
            connection.execute(delete(latents).where(latents.c.id == latent_id))

    def reject_composition(
        self, image: ImageRow, anew: ImageRow, rejection: Rejection
    ) -> ImageRow | None:
        """Give an image other seeds and delete its latent, with the event ``rejected``.

        If the image has another latent by now, nothing changes: this was called before, or another
        process has taken its job up.

        Args:
            image: as it is, with the composition that was rejected.
            anew: the same image, as it is to be composed.
            rejection: what the job keeps of it.

        Returns:
            The image as it is now; None if its job is not open.
        """
        of_image = images.c.id == image.id, images.c.latent_id == image.latent_id
        names = ("latent_id", "seed", "decoder_seed", "latent_use", "preview", "redo_count")
        change = update(images).where(*of_image).values({n: getattr(anew, n) for n in names})
        gone = update(latents).where(latents.c.id == image.latent_id)
        of_job = jobs.c.id == image.job_id
        with self._connections.writing() as connection:
            if not update_open(connection, image.job_id, {}):
                return None
            if not connection.execute(change).rowcount:
                return _image(connection, image.id)
            connection.execute(gone.values(deleted_at=utc_now()))
            earlier = connection.execute(select(jobs.c.rejections).where(of_job)).scalar()
            rejections = [*(earlier or []), rejection.to_stored()]
            connection.execute(update(jobs).where(of_job).values(rejections=rejections))
            append_event(connection, image.job_id, "rejected", rejection.to_json())
            return _image(connection, image.id)

    def discard_latents_without_image(self, job_id: str, part: str) -> list[str]:
        """Mark a job's own latents deleted that became no image in a part of it.

        Compositions that passed stay in a redo, as the job waits with them, and those that were
        not chosen stay in a continuation. The job no longer shows the others.

        Returns:
            The ids of the latents.
        """
        with self._connections.writing() as connection:
            is_unmade = [images.c.job_id == job_id, images.c.ready_at.is_(None)]
            if is_redo(part):
                is_unmade.append(images.c.preview.is_(None))
            if part == CONTINUED:
                of_job = select(jobs.c.choice).where(jobs.c.id == job_id)
                choice = connection.execute(of_job).scalar() or {}
                is_unmade.append(images.c.index.in_(choice.get("indices", ())))
            unmade = select(images.c.latent_id).where(*is_unmade)
            own = latents.c.job_id == job_id, latents.c.id.in_(unmade)
            ids = list(connection.execute(select(latents.c.id).where(*own)).scalars())
            connection.execute(update(latents).where(*own).values(deleted_at=utc_now()))
            connection.execute(update(images).where(*is_unmade).values(latent_use=None))
        return ids


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
        "content": _content_digest(row.model.fingerprint, row.request),
    }


def _latent_from(row: Row) -> LatentRow:
    model = ModelRef(row["model_id"], row["model_revision"], row["model_fingerprint"])
    names = ("id", "job_id", "index", "created_at", "deleted_at")
    request = request_from(row["request"])
    return LatentRow(model=model, request=request, **{name: row[name] for name in names})


def _content_digest(fingerprint: str, request: GenerationRequest) -> str:
    """Return a digest of the model and the fields that determine a latent.

    Latents with equal digests are equal.
    """
    given = [fingerprint, *(getattr(request, name) for name in LATENT_FIELDS)]
    if request.strength is not None:
        given += [request.latent_id, request.strength]
        given += [request.upload_id] if request.upload_id is not None else []
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()


def _ready_image(connection: Connection, image_id: str) -> ImageRow | None:
    image = _image(connection, image_id)
    return image if image is not None and image.ready else None


def _image(connection: Connection, image_id: str) -> ImageRow | None:
    query = select_images().where(images.c.id == image_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else ImageRow(**row)


def _preview_names(connection: Connection, image: ImageRow) -> tuple[str, ...]:
    """Return the names of all previews of an image."""
    query = select(events.c.data).where(
        events.c.job_id == image.job_id, events.c.type == "progress"
    )
    names = [
        data["preview"]
        for data in connection.execute(query).scalars()
        if data["index"] == image.index and "preview" in data
    ]
    # Of an imported job, whose events are not archived:
    stored = connection.execute(select(jobs.c.redos).where(jobs.c.id == image.job_id)).scalar()
    replaced = [values for redo in redos_from(stored) for values in redo.replaced]
    names += [values["preview"] for values in replaced if values["index"] == image.index]
    return tuple(dict.fromkeys(name for name in (*names, image.preview) if name is not None))
