"""The HTTP bodies, as OpenAPI shows them.

Ranges are shown here and checked by :class:`cascade_core.request.GenerationRequest`, whose
constants they come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cascade_core.geometry import SIZE_MULTIPLE_PX
from cascade_core.operations.fields import (
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_PROMPT_CHARS,
    MAX_SEED,
    MAX_SIDE_PX,
    MAX_STEPS,
    MIN_SIDE_PX,
    ImageFormat,
)
from cascade_core.operations.registry import Kind
from cascade_core.printable import is_printable
from serve.json_depth import MAX_DEPTH, is_too_deep
from serve.storage.records import JobState, StageCUse

MAX_CLIENT_STATE_BYTES = 4096
MAX_PREFERENCE_BYTES = 16 * 1024
MAX_SHARE_S, DEFAULT_SHARE_S = 30 * 24 * 3600, 24 * 3600

Value = TypeVar("Value")


def _shown(description: str, low: float, high: float, **more: Any) -> Any:
    extra = {"minimum": low, "maximum": high} | more
    return Field(description=description, json_schema_extra=extra)


def _printable(value: str | None) -> str | None:
    if value is not None and not is_printable(value):
        raise ValueError("must be printable text")
    return value


def _storable(max_bytes: int) -> Callable[[Value], Value]:
    """Return a check that refuses what JSON, UTF-8 or PostgreSQL cannot hold."""

    def check(value: Value) -> Value:
        if value is None:
            return value
        if is_too_deep(value):
            raise ValueError(f"must not be nested more than {MAX_DEPTH} deep")
        try:
            size_bytes = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
        except (ValueError, RecursionError) as error:
            raise ValueError("must be plain JSON without NaN or half surrogate pairs") from error
        if size_bytes > max_bytes:
            raise ValueError(f"must be at most {max_bytes} bytes of JSON")
        return value

    return check


RequiredText = Annotated[str, Field(json_schema_extra={"maxLength": MAX_PROMPT_CHARS})]
Text = Annotated[str | None, Field(json_schema_extra={"maxLength": MAX_PROMPT_CHARS})]
Side = Annotated[
    int | None,
    _shown("Pixels.", MIN_SIDE_PX, MAX_SIDE_PX, multipleOf=SIZE_MULTIPLE_PX),
]
Count = Annotated[int | None, _shown("Images; image i uses seed + i.", 1, MAX_IMAGES)]
Seed = Annotated[int | None, _shown("Random if absent.", 0, MAX_SEED)]
Steps = Annotated[int | None, _shown("Denoising steps.", 1, MAX_STEPS)]
Guidance = Annotated[
    float | None, _shown("1 or less: no guidance, twice as fast.", 0, MAX_GUIDANCE_SCALE)
]
User = Annotated[
    str | None,
    Field(min_length=1, max_length=128, description="For whom; jobs can be listed by it."),
    AfterValidator(_printable),
]

ClientState = Annotated[
    dict[str, Any] | None,
    Field(description=f"Comes back with the job; at most {MAX_CLIENT_STATE_BYTES} bytes."),
    AfterValidator(_storable(MAX_CLIENT_STATE_BYTES)),
]


class DecoderFields(BaseModel):
    """What every request for images may name."""

    n: Count = None
    decoder_steps: Steps = None
    decoder_guidance_scale: Guidance = None
    decoder_seed: Seed = None


class DrawingFields(DecoderFields):
    """What a request for new images may name as well."""

    negative_prompt: Text = None
    seed: Seed = None
    steps: Steps = None
    guidance_scale: Guidance = None


class JobBody(DrawingFields):
    """What to make; absent values come from the model's defaults, see ``GET /v1/models``.

    ``vary_details`` keeps the composition of a stored latent and draws its details anew: prompt,
    size and the values of Stage C are the latent's own and cannot be given.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    kind: Kind = "generate"
    prompt: Text = None
    width: Side = None
    height: Side = None
    latent_id: Annotated[
        str | None, Field(description="vary_details: the latent to start from.")
    ] = None
    format: ImageFormat | None = None
    id: Annotated[
        str | None,
        Field(description="The job's id, a ULID of now; asking again with it is safe."),
    ] = None
    user: User = None
    client_state: ClientState = None


class JobPatch(BaseModel):
    """What to change about a job: what the client keeps with it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    client_state: ClientState = None
    expected: Annotated[
        dict[str, Any] | None,
        Field(description="Change it only if this is there now; absent: whatever is there."),
    ] = None


class PreferenceBody(BaseModel):
    """What to keep."""

    model_config = ConfigDict(strict=True, extra="forbid")

    value: Annotated[
        dict[str, Any],
        Field(description=f"At most {MAX_PREFERENCE_BYTES} bytes of JSON."),
        AfterValidator(_storable(MAX_PREFERENCE_BYTES)),
    ]


class Preference(BaseModel):
    """What is kept under a name."""

    name: str
    value: dict[str, Any]


class Progress(BaseModel):
    """The last step reported, of image ``index``."""

    step: int
    steps: int
    index: int


class Image(BaseModel):
    """A finished image; its bytes are at ``/v1/images/{id}``."""

    id: str
    index: int
    latent_id: str
    seed: int
    decoder_seed: int
    width: int
    height: int
    stage_c: StageCUse | None = Field(
        description="`ran`, `reused` from an equal request, or `stored` (vary_details)."
    )


class Cost(BaseModel):
    """Seconds of computing per stage."""

    c_s: float
    b_s: float
    a_s: float


class ErrorDetail(BaseModel):
    """What went wrong; ``code`` is stable, ``message`` is for people."""

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


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    field: str | None = None


class ResolvedRequest(BaseModel):
    """The request with every value decided; sending it again makes the same images."""

    kind: Kind
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
    format: ImageFormat


class JobAnswer(BaseModel):
    """A job as it stands."""

    id: str
    kind: Kind
    state: JobState
    stage: Literal["c", "b", "a"] | None
    progress: Progress | None
    position: int | None = Field(description="Open jobs ahead, while queued.")
    eta_s: float | None = Field(description="Seconds until it is probably done.")
    created_at: str
    started_at: str | None
    finished_at: str | None
    deadline_at: str | None = Field(
        description="It fails with `deadline_exceeded` if it has not ended by then."
    )
    request: ResolvedRequest
    images: list[Image]
    warnings: list[str]
    error: JobError | None
    cost: Cost
    client_state: dict[str, Any] | None = None


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobAnswer]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page.")


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


class Defaults(BaseModel):
    """What a request gets where it names no value."""

    width: int
    height: int
    steps: int
    guidance_scale: float
    decoder_steps: int
    decoder_guidance_scale: float


class Sizes(BaseModel):
    """Which sides are allowed, in pixels."""

    multiple_of: int
    min_side: int
    max_side: int


class Model(BaseModel):
    """The loaded model."""

    id: str
    object: Literal["model"] = "model"
    created: Literal[0] = Field(0, description="Not known; OpenAI's clients expect the field.")
    owned_by: str = Field(description="Who published the model.")
    revision: str
    fingerprint: str
    licence: str
    defaults: Defaults
    sizes: Sizes
    suggestions: list[str]


class ModelList(BaseModel):
    """The models that can be asked for."""

    object: Literal["list"] = "list"
    data: list[Model]


class EndedJobs(BaseModel):
    """How many jobs ended in each state."""

    succeeded: int
    failed: int
    cancelled: int


class Status(BaseModel):
    """How busy the service is."""

    replicas: dict[str, int] | None = Field(
        description="Running replicas by deployment; null if nobody can tell."
    )
    queued: int
    running: int
    last_hour: EndedJobs


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Everything that a job needs, each ``ready``."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str]
