"""The records of the database as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal

from cascade_core.families.spec import Family
from cascade_core.families.stage_info import LATENT_USE_KEY, cost_key
from cascade_core.handoff import ModelRef
from cascade_core.job_states import RESTING_STATES, TERMINAL_STATES, JobState
from cascade_core.operations.fields import ImageFormat
from cascade_core.request import GenerationRequest
from serve.settings import MIN_DEADLINE_S
from serve.storage.job_parts.choice import Choice
from serve.storage.job_parts.parts import part_of
from serve.storage.job_parts.redo import Redo
from serve.storage.job_parts.rejection import Rejection

LatentUse = Literal["ran", "reused", "stored"]
"""Where an image's latent came from: the stage computed it, an equal one was copied, or the request
named a stored one."""


def utc_now() -> datetime:
    """Return the current time in UTC, with its time zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image that a job will make; its ids are assigned before the work starts."""

    id: str
    index: int
    latent_id: str
    seed: int
    decoder_seed: int


@dataclass(frozen=True, slots=True)
class JobOwner:
    """The owner of a job and of its images and latents.

    Attributes:
        key_id: the API key that made the job; None if the service had no keys then.
        user: the end user that a key named, if the key acts for end users; otherwise None.
        label: the ``user`` that any other key named. It only serves to list jobs: such a key must
            not get the queue shares of many users by naming many.
    """

    key_id: str | None
    user: str | None
    label: str | None = None

    @property
    def queue_user(self) -> str:
        """The user of the fair queues that a job is charged to; each key has users of its own."""
        return f"{self.key_id or ''}/{self.user or ''}"


@dataclass(frozen=True, slots=True)
class OpenLimits:
    """Limits on open jobs (queued or running), and the least time that every job may take."""

    total: int
    per_user: int
    min_deadline_s: float = MIN_DEADLINE_S


@dataclass(frozen=True, slots=True)
class JobIdentity:
    """Identifies a repeated request by its job id or key, and by the digest of its body.

    Attributes:
        job_id: a ULID, so that ids sort by creation.
        key: digest of the owner and the Idempotency-Key; None without such a key.
        body: digest of the request and its owner.
    """

    job_id: str
    key: str | None
    body: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be accepted.

    Attributes:
        client_state: small JSON that the client gets back with the job.
        family: its stages make the images.
        context: ids and trace of the request that made the job, see `serve.telemetry.tracing`.
    """

    identity: JobIdentity
    request: GenerationRequest
    client_state: dict[str, Any] | None
    owner: JobOwner
    images: tuple[PlannedImage, ...]
    family: Family
    context: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The job's id."""
        return self.identity.job_id

    @property
    def work(self) -> float:
        """The work of all images at all stages."""
        return self.family.work(self.request)

    @property
    def model(self) -> str | None:
        """The id of the model that makes its images; None if its request names none."""
        return self.request.model

    @property
    def route(self) -> list[str]:
        """The keys of the stages that each image passes, in order."""
        return [stage.key for stage in self.family.route(self.request)]


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image.

    Attributes:
        ready_at: when the image was made; None while it is planned.
        deleted_at: when the image was deleted; None until then.
        latent_use: None until the image has its latent.
        source_latent_id: the stored latent that it is made from; None if it starts from none. Equal
            to `latent_id` if it shows that composition with other details.
        source_image_id: the picture that this latent was made for; None if there is none.
        upload_id: the upload that it is made from, if any.
        preview: name of the preview of its latent; None unless its job stopped there.
        redo_count: how often it was composed anew, with other seeds.
    """

    id: str
    job_id: str
    index: int
    latent_id: str
    seed: int
    decoder_seed: int
    width: int
    height: int
    format: ImageFormat
    size_bytes: int | None
    seconds: float | None
    ready_at: datetime | None
    deleted_at: datetime | None
    latent_use: LatentUse | None
    source_latent_id: str | None
    source_image_id: str | None
    upload_id: str | None = None
    preview: str | None = None
    redo_count: int = 0

    @property
    def ready(self) -> bool:
        """True if the image was made; it may have been deleted since."""
        return self.ready_at is not None

    @property
    def has_shown_latent(self) -> bool:
        """True if clients may have its latent: a checker of previews, if there is one, passed it.

        Where the job stops the preview is stored after the check; elsewhere the next stage begins.
        """
        return self.ready or self.preview is not None

    def to_json(self) -> dict[str, Any]:
        """Return the image as a job's JSON holds it, but for what it is derived from."""
        return {"id": self.id, **self._shared_json()}

    def composition_json(self, request: GenerationRequest) -> dict[str, Any]:
        """Return the image's latent as the list of compositions in a job's JSON holds it."""
        url = None if self.preview is None else f"/v1/jobs/{self.job_id}/previews/{self.preview}"
        size = {"width": request.width, "height": request.height}
        return {**self._shared_json(), **size, "preview_url": url}

    def _shared_json(self) -> dict[str, Any]:
        names = ("index", "latent_id", "seed", "decoder_seed", "width", "height")
        return {name: getattr(self, name) for name in names} | {LATENT_USE_KEY: self.latent_use}


@dataclass(frozen=True, slots=True)
class OpenJob:
    """The data that running a job needs: its request and all its images, finished or planned.

    Attributes:
        request: of a continued job: that by which the chosen images are finished.
        created_at: when it was accepted, or when its client had it go on.
        context: see :class:`NewJob`.
        choice: of a continued job; None: it has not been continued.
        redos: what its client had made anew, oldest first.
        rejections: what a checker had made anew, oldest first.
    """

    id: str
    request: GenerationRequest
    owner: JobOwner
    created_at: datetime
    images: tuple[ImageRow, ...]
    context: dict[str, str] = field(default_factory=dict)
    choice: Choice | None = None
    redos: tuple[Redo, ...] = ()
    rejections: tuple[Rejection, ...] = ()

    @property
    def part(self) -> str:
        """The part that it is in."""
        return part_of(is_continued=self.choice is not None, redos=len(self.redos))

    @property
    def indices(self) -> Sequence[int]:
        """The images that are to be made now."""
        return range(self.request.n) if self.choice is None else self.choice.indices

    def request_of(self, index: int) -> GenerationRequest:
        """Return the request of one image, with the seeds that it has by now."""
        image, made = self.images[index], self.request.for_image(index)
        return replace(made, seed=image.seed, decoder_seed=image.decoder_seed)

    def rejections_of(self, index: int) -> int:
        """Return how often a checker has rejected an image in this part of the job."""
        return [(one.index, one.part) for one in self.rejections].count((index, self.part))

    def with_redone(self, image: ImageRow, rejection: Rejection) -> OpenJob:
        """Return the job with an image that is to be composed anew."""
        images = tuple(image if one.index == image.index else one for one in self.images)
        return replace(self, images=images, rejections=(*self.rejections, rejection))


@dataclass(frozen=True, slots=True)
class LatentRow:
    """A stored latent; ``request`` is the request of its one image (n = 1)."""

    id: str
    job_id: str
    index: int
    model: ModelRef
    request: GenerationRequest
    created_at: datetime = field(default_factory=utc_now)
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProgressStep:
    """A step of one image that a stage has reported.

    Attributes:
        preview_key: where the picture so far is stored; None if the step shows none.
    """

    job_id: str
    index: int
    stage: str
    step: int
    steps: int
    preview_key: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a job; ``id`` increases over the events of all jobs and is the SSE id."""

    id: int
    job_id: str
    type: str
    data: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job in its current state.

    Attributes:
        progress: ``{step, steps, index}`` of the last reported step; None unless it is running.
        position: number of open jobs ahead of it; None unless it is queued.
        eta_s: estimated seconds until the job ends; None if unknown.
        deadline_at: when the job fails if it has not ended; None: never. A waiting one ends then.
        images: all planned images, by index; see :attr:`ImageRow.ready`.
        cost_s: seconds spent in each stage of the family, by its name.
        choice, redos, rejections: see :class:`OpenJob`.
    """

    id: str
    state: JobState
    stage: str | None
    progress: dict[str, int] | None
    position: int | None
    eta_s: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    request: GenerationRequest
    client_state: dict[str, Any] | None
    owner: JobOwner
    images: tuple[ImageRow, ...]
    warnings: tuple[str, ...]
    error: dict[str, Any] | None
    cost_s: dict[str, float]
    choice: Choice | None
    redos: tuple[Redo, ...] = ()
    rejections: tuple[Rejection, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """True if the job has ended."""
        return self.state in TERMINAL_STATES

    @property
    def is_resting(self) -> bool:
        """True if the job has ended, or waits for its client."""
        return self.state in RESTING_STATES

    @property
    def latency_s(self) -> float | None:
        """Seconds from acceptance to the end; None while the job is open."""
        if self.finished_at is None:
            return None
        return (self.finished_at - self.created_at).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Return the job's HTTP form; ``images`` holds the images that are ready and not deleted.

        The form has ``client_state`` only if the client gave one, ``rejected`` only if a checker
        rejected compositions, and ``compositions``, ``redone`` and ``continued`` only if the
        request has a stop.
        """
        kept = [image for image in self.images if image.deleted_at is None]
        shown = [image for image in kept if image.ready]
        body = {
            "id": self.id,
            "kind": self.request.kind,
            "key_id": self.owner.key_id,
            "state": self.state,
            "stage": self.stage,
            "progress": self.progress,
            "position": self.position,
            "eta_s": self.eta_s,
            "created_at": iso_utc(self.created_at),
            "started_at": iso_utc(self.started_at),
            "finished_at": iso_utc(self.finished_at),
            "deadline_at": iso_utc(self.deadline_at),
            "request": self.request.to_dict(),
            "images": [self._image_json(image) for image in shown],
            "warnings": list(self.warnings),
            "error": self.error,
            "cost": {cost_key(stage): round(cost_s, 4) for stage, cost_s in self.cost_s.items()},
        }
        if self.request.stop_after is not None:
            made = [image for image in kept if image.latent_use and image.has_shown_latent]
            body["compositions"] = [image.composition_json(self.request) for image in made]
            body["redone"] = [self._redo_json(redo) for redo in self.redos]
            body["continued"] = None if self.choice is None else _choice_json(self.choice)
        if self.rejections:
            body["rejected"] = [rejection.to_json() for rejection in self.rejections]
        state = self.client_state
        return body if state is None else body | {"client_state": state}

    def shows_latent(self, latent_id: str) -> bool:
        """Return True if it is the latent of an image, or an earlier one, that was checked."""
        before = (self._before(redo) for redo in self.redos)
        every = chain(self.images, chain.from_iterable(before))
        return any(one.has_shown_latent for one in every if one.latent_id == latent_id)

    def _before(self, redo: Redo) -> list[ImageRow]:
        """Return images as they were before they were composed anew."""
        return [replace(self.images[values["index"]], **values) for values in redo.replaced]

    def _redo_json(self, redo: Redo) -> dict[str, Any]:
        shown = [image.composition_json(self.request) for image in self._before(redo)]
        return {"at": iso_utc(redo.at), "compositions": shown}

    def _image_json(self, image: ImageRow) -> dict[str, Any]:
        source = self.request.derived_from(image.index)
        if source is not None:
            source |= {"image_id": image.source_image_id}
        return image.to_json() | {"derived_from": source}


def _choice_json(choice: Choice) -> dict[str, Any]:
    return {"at": iso_utc(choice.at), "indices": list(choice.indices), **choice.changes}


def iso_utc(at: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, such as ``2026-01-31T12:00:00.000Z``; None stays None."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
