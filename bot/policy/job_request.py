"""From what a person chose to what the service is asked for; pure."""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, replace
from typing import Any, Literal

from bot.policy.credit import Means
from bot.service.models import Image, Job, ModelInfo
from bot.text.error_messages import UserError
from bot.text.markdown import escape, one_line
from cascade_core.operations.fields import MAX_SEED

Aspect = Literal["square", "landscape", "portrait", "wide", "tall"]
ASPECTS: dict[Aspect, float] = {
    "square": 1.0,
    "landscape": 3 / 2,
    "portrait": 2 / 3,
    "wide": 16 / 9,
    "tall": 9 / 16,
}
"""Width over height."""
MAX_IMAGES = 4
_RATIO_COUNTS = 2.0
_SIZE = re.compile(r"\s*(\d{2,5})\s*[x×*]\s*(\d{2,5})\s*", re.IGNORECASE)  # noqa: RUF001


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What is asked of the service, and how the outcome is shown.

    Attributes:
        width, height: pixels; None: the model's own.
        seed, decoder_seed: of the composition and of the details; None: the service's choice.
        latent_id: draw its details anew; all of the composition is its own then.
        of: the picture that is varied, as job id and index.
        means: the button that it comes from; None: a command.
        source: link to the message of the pictures that it starts from.
        private: shown to who asked alone.
        spoiler: hidden until somebody looks.
        preview: show previews while it is made.
    """

    prompt: str = ""
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    n: int = 1
    seed: int | None = None
    decoder_seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    decoder_steps: int | None = None
    decoder_guidance_scale: float | None = None
    latent_id: str | None = None
    of: tuple[str, int] | None = None
    means: Means | None = None
    source: str = ""
    private: bool = False
    spoiler: bool = False
    preview: bool = True

    def to_body(self) -> dict[str, Any]:
        """Return the fields of the service's request; absent ones are the model's to choose."""
        names = ["n", "decoder_seed", "decoder_steps", "decoder_guidance_scale"]
        if self.latent_id is None:
            names += ["prompt", "negative_prompt", "width", "height", "seed", "steps"]
            names += ["guidance_scale"]
            body: dict[str, Any] = {"kind": "generate"}
        else:
            body = {"kind": "vary_details", "latent_id": self.latent_id}
        given = {name: getattr(self, name) for name in names}
        return body | {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedValues:
    """What the Edit form is filled with, or what comes back from it.

    Attributes:
        which: the picture that is edited, by index; ``all``; or empty, where there is one only.
        filled_seed: what the form was filled with as ``seed``.
    """

    prompt: str = ""
    negative_prompt: str = ""
    seed: str = ""
    size: str = ""
    which: str = ""
    filled_seed: str = ""


def new_seed() -> int:
    """Return a seed nobody chose."""
    return secrets.randbelow(MAX_SEED + 1)


def check_prompt(text: str) -> str:
    """Return a prompt as it will be sent.

    Raises:
        UserError: nothing is left of it.
    """
    prompt = one_line(text)
    if not prompt:
        raise UserError.because("empty_prompt")
    return prompt


def vary(job: Job, index: int, template: JobRequest) -> JobRequest:
    """Return the order of other details for one picture of a job.

    Raises:
        UserError: the picture is gone.
    """
    image = find_image(job, index)
    request = replace(
        _base_request(job, "vary", template), latent_id=image.latent_id, of=(job.id, index)
    )
    return replace(
        request, n=1, steps=None
    )  # Stage C does not run, so no limit of its steps counts


def reroll(job: Job, template: JobRequest) -> JobRequest:
    """Return the order of what a job asked for, with another seed."""
    return replace(_base_request(job, "reroll", template), seed=new_seed())


def again(job: Job, of: tuple[str, int] | None, template: JobRequest) -> JobRequest:
    """Return the order of exactly what a job asked for; ``of`` is the picture that it varies."""
    earlier = job.request
    request = _base_request(job, "again", template)
    request = replace(request, seed=earlier.seed, decoder_seed=earlier.decoder_seed)
    if earlier.latent_id is None:
        return request
    return replace(request, latent_id=earlier.latent_id, of=of, steps=None)


def edit(job: Job, values: EditedValues, template: JobRequest) -> JobRequest:
    """Return the order of a job's picture as the Edit form has changed it.

    What was left as it was stays as it is in that picture: its seed, and with it its details.

    Raises:
        UserError: the picture is gone, or a value is none.
    """
    earlier = job.request
    request = _base_request(job, "edit", template)
    first, count = _chosen(job, values.which)
    if values.seed.strip() and values.seed.strip() == values.filled_seed:
        request = replace(request, seed=first.seed, decoder_seed=first.decoder_seed)
    else:
        request = replace(request, seed=parse_seed(values.seed))
    width, height = parse_size(values.size) or (earlier.width, earlier.height)
    return replace(
        request,
        prompt=check_prompt(values.prompt),
        negative_prompt=one_line(values.negative_prompt),
        width=width,
        height=height,
        n=count,
    )


def _chosen(job: Job, which: str) -> tuple[Image, int]:
    """Return the first picture that is edited, and how many are from there on.

    Raises:
        UserError: it was deleted.
    """
    if which.isdecimal():
        return find_image(job, int(which)), 1
    first = find_image(job, None)
    # A variation's pictures share one composition, which one request cannot draw several times.
    count = job.images[-1].index - first.index + 1 if job.request.kind == "generate" else 1
    return first, count


def _base_request(job: Job, means: Means, template: JobRequest) -> JobRequest:
    """Return the order of what a job asked for, but for what makes it that very picture: seeds."""
    earlier = job.request
    return replace(
        template,
        means=means,
        prompt=earlier.prompt,
        negative_prompt=earlier.negative_prompt,
        width=earlier.width,
        height=earlier.height,
        n=earlier.n,
        steps=earlier.steps,
        guidance_scale=earlier.guidance_scale,
        decoder_steps=earlier.decoder_steps,
        decoder_guidance_scale=earlier.decoder_guidance_scale,
    )


def find_image(job: Job, index: int | None) -> Image:
    """Return a picture of a job; without an index its first.

    Raises:
        UserError: it was deleted.
    """
    images = job.images if index is None else tuple(filter(None, (job.image(index),)))
    if not images:
        raise UserError.because("picture_gone")
    return images[0]


def size_of(aspect: Aspect, model: ModelInfo) -> tuple[int, int]:
    """Return the (width, height) in pixels that the model can do and that come closest."""
    wanted, area = ASPECTS[aspect], model.width * model.height
    sides = range(model.min_side, model.max_side + 1, model.multiple_of)

    def distance(size: tuple[int, int]) -> float:
        width, height = size
        ratio = abs(math.log(width / height / wanted))
        return _RATIO_COUNTS * ratio + abs(math.log(width * height / area))

    return min(((width, height) for width in sides for height in sides), key=distance)


def parse_size(text: str) -> tuple[int, int] | None:
    """Read ``1024x768``; None where nothing is given.

    Raises:
        UserError: it is no size.
    """
    if not text.strip():
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UserError.because("no_size", given=escape(text.strip()[:20]))
    return int(found[1]), int(found[2])


def parse_seed(text: str) -> int:
    """Read a seed; a new one where nothing is given.

    Raises:
        UserError: it is no seed.
    """
    digits = text.strip()
    if not digits:
        return new_seed()
    if not (digits.isascii() and digits.isdigit() and int(digits) <= MAX_SEED):
        raise UserError.because("no_seed", highest=MAX_SEED)
    return int(digits)
