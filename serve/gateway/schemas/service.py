"""The bodies of all routes but jobs: errors, shares, preferences, models, health."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cascade_core.families.licence import Term
from serve.gateway.schemas.fields import storable
from serve.gateway.schemas.operations import ModelOperation

MAX_PREFERENCE_BYTES = 16 * 1024
MAX_SHARE_S, DEFAULT_SHARE_S = 30 * 24 * 3600, 24 * 3600


class ErrorDetail(BaseModel):
    """An error; ``code`` is stable, ``message`` is for people."""

    code: str
    message: str
    type: str = Field(description="The kind of error, in OpenAI's words.")
    param: str | None = Field(description="The field at fault, under OpenAI's name for it.")
    field: str | None = None
    request_id: str


class ErrorAnswer(BaseModel):
    """Every error looks like this; ``job_id`` names the job that a request waited for."""

    error: ErrorDetail
    job_id: str | None = None


class ShareBody(BaseModel):
    """How long the link works, and what it shows."""

    model_config = ConfigDict(strict=True, extra="forbid")

    expires_in_s: Annotated[int, Field(ge=1, le=MAX_SHARE_S)] = DEFAULT_SHARE_S
    metadata: Literal["all", "none"] = Field(
        "all", description="`none`: without the request and ids inside the file."
    )


class ShareAnswer(BaseModel):
    """A link that needs no API key; it takes ``&format=`` like the image itself."""

    url: str = Field(
        description="Without scheme and host where the service does not know its own address "
        "(`CASCADE_PUBLIC_URL`)."
    )
    expires_at: str


class PreferenceBody(BaseModel):
    """A value to keep."""

    model_config = ConfigDict(strict=True, extra="forbid")

    value: Annotated[
        dict[str, Any],
        Field(description=f"At most {MAX_PREFERENCE_BYTES} bytes of JSON."),
        AfterValidator(storable(MAX_PREFERENCE_BYTES)),
    ]


class Preference(BaseModel):
    """The value that is kept under a name."""

    name: str
    value: dict[str, Any]


class Defaults(BaseModel):
    """The values of a request that names none."""

    width: int
    height: int
    steps: int
    guidance_scale: float
    decoder_steps: int
    decoder_guidance_scale: float


class Sizes(BaseModel):
    """The allowed sides, in pixels."""

    multiple_of: int
    min_side: int
    max_side: int


class ModelStage(BaseModel):
    """A stage of the model; images pass the stages in their order."""

    name: str = Field(description="As in events, in a job's `stage` and in the keys of its `cost`.")
    title: str = Field(description="For people.")
    share: float = Field(description="Part of a whole job that a progress bar gives it; sum 1.")
    is_stored: bool = Field(
        description="Its output is kept as the image's latent, from which other jobs start."
    )
    draws_details: bool = Field(description="It draws details of its own on what it takes.")
    scales: bool = Field(description="It can draw what it takes at another size of one aspect.")
    parameters: int | None = Field(
        description="In the weight files that it reads when it starts; one that two stages read "
        "counts for both. Null if they were not here when the gateway started."
    )
    weight_bytes: int | None = Field(
        description="Of these weights in their files; null as `parameters`."
    )


class Terms(BaseModel):
    """What the licence of a model's weights allows; `check`: not known here, read the licence."""

    hosting: Term = Field(description="The model may be offered to others as a service.")
    commercial: Term = Field(description="The model may be used for profit.")


class Model(BaseModel):
    """A model of the service."""

    id: str
    object: Literal["model"] = "model"
    created: Literal[0] = Field(0, description="Not known; OpenAI's clients expect the field.")
    owned_by: str = Field(description="The publisher of the model.")
    revision: str
    fingerprint: str
    licence: str
    terms: Terms
    trained_on: str | None = Field(description="By its own words; null if it does not say.")
    weaknesses: list[str] = Field(
        description="What it does badly, by its own words; empty if it does not say."
    )
    defaults: Defaults
    sizes: Sizes
    suggestions: list[str]
    takes_uploads: bool = Field(
        description="`image` may be an upload. If false, the model has no encoder, and `image` can "
        "only be a picture of this service."
    )
    stages: list[ModelStage]
    operations: list[ModelOperation]


class ModelList(BaseModel):
    """The models that a request may name."""

    object: Literal["list"] = "list"
    data: list[Model]


class EndedJobs(BaseModel):
    """How many jobs ended in each state."""

    succeeded: int
    failed: int
    cancelled: int


class StageStatus(BaseModel):
    """What a stage does, and how fast it was lately."""

    model: str = Field(description="The id of the model whose stage it is.")
    name: str
    title: str = Field(description="For people.")
    deployment: str
    replicas: int | None = Field(description="That run; null if that is not known.")
    starting: int | None = Field(description="Replicas that start; null if that is not known.")
    jobs: int = Field(description="Running jobs that reported a step of it last.")
    images: int = Field(
        description="That passed it, of the newest 200 jobs those that succeeded in the last hour."
    )
    seconds_per_image: float | None = Field(description="Of these images; null if there is none.")


class Status(BaseModel):
    """How busy the service is."""

    replicas: dict[str, int] | None = Field(
        description="Running replicas by deployment; null if they are not known."
    )
    queued: int
    running: int
    last_hour: EndedJobs
    stages: list[StageStatus] = Field(
        description="Of each model, in the order in which images pass them."
    )
    errors: dict[str, int] = Field(description="Jobs that failed in the last hour, by error code.")
    checks: dict[str, str] | None = Field(
        description="The parts that a job needs, each `ready` or why not; null but for admins."
    )


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """The parts that a job needs, each ``ready``."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str]
