"""The service's answers as values; unknown fields are ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from cascade_core.errors import CascadeError, from_dict
from cascade_core.families.stage_info import StageInfo, stages_of
from cascade_core.job_states import RESTING_STATES, JobState
from cascade_core.operations.registry import route_of
from cascade_core.operations.template import fill

LOST, FOUND = "lost", "found"
"""Event types of the client itself: the service stopped answering, and answers again."""


class _FromJson:
    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build from JSON, ignoring unknown fields."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: body[name] for name in names if name in body})


@dataclass(frozen=True, slots=True)
class Image(_FromJson):
    """A finished picture without its bytes."""

    id: str
    index: int
    latent_id: str
    seed: int
    decoder_seed: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Composition(_FromJson):
    """What a job with a stop has made for a picture; ``preview_url``: path of a small WebP."""

    index: int
    latent_id: str
    decoder_seed: int
    preview_url: str | None


@dataclass(frozen=True, slots=True)
class ResolvedRequest(_FromJson):
    """A job's request, with the service's choice for every absent field.

    Attributes:
        prompt: of the pictures; the template of a series.
        variants: of each picture of a series, the values of its template's variables.
        model: the id of the model that makes it; None in jobs of older services.
    """

    kind: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    n: int
    seed: int
    steps: int
    guidance_scale: float
    decoder_seed: int
    decoder_steps: int
    decoder_guidance_scale: float
    latent_id: str | None
    strength: float | None = None
    stop_after: str | None = None
    image: str | None = None
    variants: Sequence[Mapping[str, str]] | None = None
    model: str | None = None

    @property
    def is_variation(self) -> bool:
        """Return True if the pictures start from an earlier picture, not from a prompt alone."""
        return self.latent_id is not None or self.image is not None

    def prompt_of(self, index: int) -> str:
        """Return the prompt of the picture with an index."""
        return self.prompt if self.variants is None else fill(self.prompt, self.variants[index])


@dataclass(frozen=True, slots=True)
class Cost:
    """Compute seconds by the name of each stage, in the order of the stages."""

    by_stage_s: Mapping[str, float]

    @property
    def total_s(self) -> float:
        """Return the compute seconds of all stages."""
        return sum(self.by_stage_s.values())

    @classmethod
    def from_json(cls, body: Mapping[str, float]) -> Self:
        """Build from a job's cost: seconds by key, such as ``c_s``."""
        return cls({key.removesuffix("_s"): value_s for key, value_s in body.items()})


@dataclass(frozen=True, slots=True)
class Progress(_FromJson):
    """The last reported step, and the index of its picture."""

    step: int
    steps: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job.

    Attributes:
        position: number of open jobs ahead of it while it is queued.
        eta_s: estimated seconds until it is done; None when unknown.
        images: the finished pictures that are not deleted.
        compositions: of a job with a stop: of its pictures, finished or not.
        error: the reason of a failure.
        warnings: notes for people about its outcome, in English.
    """

    id: str
    kind: str
    state: JobState
    stage: str | None
    progress: Progress | None
    position: int | None
    eta_s: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    request: ResolvedRequest
    images: tuple[Image, ...]
    error: CascadeError | None
    cost: Cost
    client_state: dict[str, Any]
    warnings: tuple[str, ...] = ()
    compositions: tuple[Composition, ...] = ()

    @property
    def is_resting(self) -> bool:
        """Return True if the job has ended, or waits for a person to choose."""
        return self.state in RESTING_STATES

    @property
    def is_waiting(self) -> bool:
        """Return True if the job waits for a person to choose among its compositions."""
        return self.state == "waiting"

    @property
    def has_drafts_only(self) -> bool:
        """Return True if a person can choose among its compositions, and it has no picture.

        One that was not chosen from in time has ended so.
        """
        is_sound = self.is_waiting or self.state == "succeeded"
        return is_sound and bool(self.compositions) and not self.images

    @property
    def took_s(self) -> float | None:
        """Return the seconds from the job's start to its end; None if either is unknown."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def image(self, index: int) -> Image | None:
        """Return the picture with an index; None if it is deleted or not finished."""
        return next((image for image in self.images if image.index == index), None)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build from the JSON of a job."""
        progress, error = body["progress"], body["error"]
        return cls(
            **{name: body[name] for name in ("id", "kind", "state", "stage", "position", "eta_s")},
            started_at=_time(body["started_at"]),
            finished_at=_time(body["finished_at"]),
            created_at=datetime.fromisoformat(body["created_at"]),
            progress=Progress.from_json(progress) if progress else None,
            request=ResolvedRequest.from_json(body["request"]),
            images=tuple(Image.from_json(image) for image in body["images"]),
            error=from_dict(error) if error else None,
            cost=Cost.from_json(body["cost"]),
            client_state=body.get("client_state") or {},
            warnings=tuple(body.get("warnings") or ()),
            compositions=tuple(map(Composition.from_json, body.get("compositions") or ())),
        )


@dataclass(frozen=True, slots=True)
class PicturePair(_FromJson):
    """Two pictures of one seed, by their ids; None where one is not there."""

    index: int
    left: str | None
    right: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Jobs of one prompt and one seed, each with another model, and their pairs of pictures."""

    id: str
    jobs: tuple[Job, ...]
    pairs: tuple[PicturePair, ...]

    @property
    def is_ended(self) -> bool:
        """Return True if all of its jobs have ended."""
        return all(job.is_resting for job in self.jobs)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build from the JSON of a comparison."""
        jobs = tuple(Job.from_json(entry["job"]) for entry in body["entries"] if entry["job"])
        return cls(body["id"], jobs, tuple(map(PicturePair.from_json, body["pairs"])))


@dataclass(frozen=True, slots=True)
class Vote:
    """What counts as a person's choice in a pair, and what its sides were.

    Attributes:
        choice: ``left``, ``right`` or ``same``: the first one that the person made.
        left, right: the models.
        counts: votes for each model.
        same: votes for neither.
    """

    choice: str
    left: str
    right: str
    counts: Mapping[str, int]
    same: int

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build from the answer to a vote."""
        sides, votes = (body["left"], body["right"]), body["tally"]["votes"]
        counts = {str(side["model"]): votes[side["entry"]] for side in sides}
        left, right = (str(side["model"]) for side in sides)
        return cls(body["choice"], left, right, counts, body["tally"]["same"])


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of jobs, newest first, and the cursor of the next page; None: there is none."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event of a job; a broken stream resumes after its ``id``."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model of the service.

    Attributes:
        width, height: default size in pixels.
        multiple_of, min_side, max_side: allowed sides in pixels.
        suggestions: prompts that suit the model.
        steps: default steps of the composition.
        stages: in order; empty if an older service lists none.
        operations: the kinds of job that it can do; empty if an older service lists none.
        takes_uploads: pictures may start from an upload.
        hosting: whether it may be offered to others: ``allowed``, ``forbidden`` or ``check``;
            empty if an older service does not say.
    """

    id: str
    licence: str
    width: int
    height: int
    multiple_of: int
    min_side: int
    max_side: int
    suggestions: tuple[str, ...]
    steps: int
    stages: tuple[StageInfo, ...] = ()
    operations: tuple[str, ...] = ()
    takes_uploads: bool = True
    hosting: str = ""

    def offers(self, kind: str) -> bool:
        """Return True if the model can do a kind of job."""
        return kind in self.operations if self.operations else bool(self.route(kind))

    @property
    def kept_stage(self) -> StageInfo | None:
        """Return the stage that stores its output, after which a job may stop; None without one."""
        return next((stage for stage in self.stages if stage.keeps_output), None)

    def route(self, kind: str, stop_after: str | None = None) -> tuple[StageInfo, ...]:
        """Return the stages that each picture of a job passes, in order, up to its stop."""
        route = route_of(kind, self.stages)
        names = [stage.name for stage in route]
        return route[: names.index(stop_after) + 1] if stop_after in names else route

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build from an entry of ``/v1/models``."""
        defaults, sizes = body["defaults"], body["sizes"]
        return cls(
            id=body["id"],
            licence=body["licence"],
            width=defaults["width"],
            height=defaults["height"],
            steps=defaults["steps"],
            suggestions=tuple(body["suggestions"]),
            stages=stages_of(body),
            operations=tuple(operation["name"] for operation in body.get("operations", ())),
            takes_uploads=body.get("takes_uploads", True),
            hosting=body.get("terms", {}).get("hosting", ""),
            **{name: sizes[name] for name in ("multiple_of", "min_side", "max_side")},
        )


def find_model(models: Sequence[ModelInfo], name: str | None) -> ModelInfo | None:
    """Return the model with an id; the default if no id is given or it is gone; None of none."""
    found = (model for model in models if model.id == name)
    return next(found, models[0] if models else None)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The service's load.

    Attributes:
        replicas: running replicas by deployment; None when unknown.
        queued, running: numbers of jobs.
        ended: numbers of jobs of the last hour by end state.
    """

    replicas: dict[str, int] | None
    queued: int
    running: int
    ended: dict[str, int]

    @property
    def error_rate(self) -> float:
        """Return the failed share of the last hour's jobs, 0 to 1, without cancelled jobs."""
        tried = self.ended["succeeded"] + self.ended["failed"]
        return self.ended["failed"] / tried if tried else 0.0

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build from ``/v1/status``."""
        return cls(body["replicas"], body["queued"], body["running"], dict(body["last_hour"]))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
