"""The bodies of ``/v1/jobs``, as OpenAPI shows them.

`serve.storage.records.Job.to_json` makes a job's answer; :class:`JobAnswer` describes it, and
`serve.gateway.schemas.stages` adds what is named after the stages.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from cascade_core.families.stage_info import LATENT_USE_KEY
from cascade_core.job_states import JobState
from cascade_core.operations.fields import MAX_IMAGES, ImageFormat
from cascade_core.operations.registry import DEFAULT_KIND, Kind
from serve.gateway.schemas.fields import (
    ClientState,
    DrawingFields,
    Side,
    Steps,
    Strength,
    Template,
    Text,
    User,
    Variants,
)
from serve.gateway.schemas.images import DerivedFrom
from serve.storage.records import LatentUse

_ADDED_LATER = ("strength", "stop_after", "template", "variants", "hero", "image", "model")


class JobBody(DrawingFields):
    """A job to make; absent values come from the model's defaults, see ``GET /v1/models``.

    ``vary_details`` keeps the composition of a stored latent and draws new details: prompt,
    size and the values of Stage C are the latent's own and cannot be given. ``decode`` does the
    same at another size of that aspect. ``vary`` composes anew from a stored latent, with another
    prompt if one is given (a remix): its size is the latent's own. ``series`` varies one latent,
    the ``hero``, once for each of the ``variants``, whose values fill the ``template``; all images
    have the same seeds. Without a ``hero`` the first variant becomes a new picture, and the others
    vary its latent. ``image_to_image`` starts from an upload or from a picture's latent, and
    needs a prompt.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    kind: Annotated[Kind, Field(description="What the job does.")] = DEFAULT_KIND
    model: Annotated[
        str | None,
        Field(description="The model's id; absent: that of the latent, or the service's first."),
    ] = None
    prompt: Annotated[Text, Field(description="What the picture shows.")] = None
    width: Side = None
    height: Side = None
    latent_id: Annotated[
        str | None, Field(description="The latent to start from, for kinds that start from one.")
    ] = None
    template: Template = None
    variants: Variants = None
    hero: Annotated[
        str | None,
        Field(
            description="The latent of the composition that a series keeps; absent: that of its "
            "first picture."
        ),
    ] = None
    image: Annotated[
        str | None,
        Field(description="The upload, or the picture of this service, to start from."),
    ] = None
    strength: Strength = None
    format: Annotated[ImageFormat | None, Field(description="Of the picture's file.")] = None
    id: Annotated[
        str | None,
        Field(description="The job's id, a ULID of now; asking again with it is safe."),
    ] = None
    user: User = None
    client_state: ClientState = None
    stop_after: Annotated[
        str | None,
        Field(
            description="A stage whose output is stored, see `GET /v1/models`: after it the job "
            "waits to be continued."
        ),
    ] = None

    @property
    def images(self) -> int:
        """How many images it asks for; the default is one."""
        return self.n or len(self.variants or [None])

    def identifying_values(self) -> dict[str, Any]:
        """Return what tells this request from others, as JSON values.

        What a later release added counts only if it is given: a request that was sent to the
        release before, and is sent again now, is the same one.
        """
        values = self.model_dump(mode="json", exclude={"id"})
        left_out = {name for name in _ADDED_LATER if values[name] is None}
        return {name: value for name, value in values.items() if name not in left_out}


Indices = Annotated[
    list[int],
    Field(
        description="Of the images, from 0.",
        json_schema_extra={"minItems": 1, "maxItems": MAX_IMAGES, "uniqueItems": True},
    ),
]


class RedoBody(BaseModel):
    """Which images of a waiting job to compose anew, with other seeds."""

    model_config = ConfigDict(strict=True, extra="forbid")

    indices: Indices


class ContinueBody(BaseModel):
    """Which images of a waiting job to finish, and how; absent values are those of its request."""

    model_config = ConfigDict(strict=True, extra="forbid")

    indices: Indices
    decoder_steps: Annotated[Steps, Field(description="Steps that draw the details.")] = None
    width: Side = None
    height: Side = None


class JobPatch(BaseModel):
    """A change of the state that the client keeps with a job."""

    model_config = ConfigDict(strict=True, extra="forbid")

    client_state: ClientState = None
    expected: Annotated[
        dict[str, Any] | None,
        Field(
            description="Change the state only if it is this now; absent: change it in any case."
        ),
    ] = None


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
    latent_use: LatentUse | None = Field(
        alias=LATENT_USE_KEY,
        description="How it got its latent: `ran`, `reused` from an equal request, or `stored`: "
        "the one that the job starts from.",
    )
    derived_from: DerivedFrom | None = Field(
        description="What it is made from; null for an image of a prompt alone."
    )


class Composition(BaseModel):
    """What an image had when its job stopped; `/v1/latents/{latent_id}` is its latent."""

    index: int
    latent_id: str
    seed: int
    decoder_seed: int
    width: int
    height: int
    latent_use: LatentUse = Field(alias=LATENT_USE_KEY, description="As in an image.")
    preview_url: str | None = Field(description="A small WebP; null until it is drawn.")


class Redone(BaseModel):
    """Compositions that others have replaced; their latents are still there."""

    at: str
    compositions: list[Composition]


class Rejected(BaseModel):
    """A composition that a checker rejected; its image was composed anew with other seeds."""

    index: int
    rule: str = Field(description="Of the checker.")
    seed: int
    decoder_seed: int


class Continued(BaseModel):
    """The images that the client of a waiting job has chosen, and what it changed."""

    at: str
    indices: list[int]
    decoder_steps: int | None = None
    width: int | None = None
    height: int | None = None


class Cost(RootModel[dict[str, float]]):
    """Seconds of computing per stage."""


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
    strength: float | None
    stop_after: str | None
    variants: list[dict[str, str]] | None
    image: str | None
    model: str | None = Field(
        description="The model that makes it; null in jobs from before there were several."
    )
    hero_id: str | None = Field(
        description="The latent that image 0 makes and that the other images start from."
    )


class JobAnswer(BaseModel):
    """A job as it stands."""

    id: str
    kind: Kind
    key_id: str | None = Field(
        default=None, description="Of the API key that made it; null for one made without a key."
    )
    state: JobState
    stage: str | None
    progress: Progress | None
    position: int | None = Field(
        description="Open jobs ahead, while queued; up to two seconds old where many jobs are open."
    )
    eta_s: float | None = Field(description="Seconds until it is probably done.")
    created_at: str
    started_at: str | None
    finished_at: str | None
    deadline_at: str | None = Field(
        description="It fails with `deadline_exceeded` if it has not ended by then. While it is "
        "`waiting`: it ends then with what it has."
    )
    request: ResolvedRequest
    images: list[Image]
    warnings: list[str]
    error: JobError | None
    cost: Cost
    compositions: list[Composition] = Field(
        default=[], description="Of a job with `stop_after`: what it has made up to there."
    )
    redone: list[Redone] = Field(
        default=[], description="Of a job with `stop_after`: what was composed anew, oldest first."
    )
    continued: Continued | None = Field(
        default=None, description="Of a job with `stop_after`: what was continued after it."
    )
    rejected: list[Rejected] = Field(
        default=[], description="What a checker had composed anew, oldest first."
    )
    client_state: dict[str, Any] | None = None


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobAnswer]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page.")
