"""From what a person chose to what the service is asked for; pure."""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, replace
from typing import Any, Literal

from bot.markdown import escape, one_line
from bot.records import Image, Job, ModelInfo
from bot.replies import Refusal
from cascade_core.request import MAX_SEED

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
class Order:
    """What is asked of the service, and how the outcome is shown.

    Attributes:
        width, height: pixels; None: the model's own.
        latent_id: draw its details anew; prompt and size are its own then.
        of: the picture that is varied, as job id and index.
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
    steps: int | None = None
    guidance_scale: float | None = None
    decoder_steps: int | None = None
    decoder_guidance_scale: float | None = None
    latent_id: str | None = None
    of: tuple[str, int] | None = None
    private: bool = False
    spoiler: bool = False
    preview: bool = True

    def to_body(self) -> dict[str, Any]:
        """Return the fields of the service's request; absent ones are the model's to choose."""
        names = ["n", "decoder_steps", "decoder_guidance_scale"]
        if self.latent_id is None:
            names += ["prompt", "negative_prompt", "width", "height", "seed", "steps"]
            names += ["guidance_scale"]
            body: dict[str, Any] = {"kind": "generate"}
        else:
            body = {"kind": "vary_details", "latent_id": self.latent_id}
        given = {name: getattr(self, name) for name in names}
        return body | {name: value for name, value in given.items() if value is not None}


def new_seed() -> int:
    """Return a seed nobody chose."""
    return secrets.randbelow(MAX_SEED + 1)


def check_prompt(text: str) -> str:
    """Return a prompt as it will be sent.

    Raises:
        Refusal: nothing is left of it.
    """
    prompt = one_line(text)
    if not prompt:
        raise Refusal.because("empty_prompt")
    return prompt


def vary(job: Job, index: int, like: Order) -> Order:
    """Return the order of other details for one picture of a job.

    Raises:
        Refusal: the picture is gone.
    """
    image = find_image(job, index)
    return replace(
        like,
        latent_id=image.latent_id,
        prompt=job.request.prompt,
        negative_prompt=job.request.negative_prompt,
        decoder_steps=job.request.decoder_steps,
        decoder_guidance_scale=job.request.decoder_guidance_scale,
        of=(job.id, index),
        n=1,
    )


def again(job: Job, like: Order) -> Order:
    """Return the order of what a job made, with another seed."""
    request = job.request
    return replace(
        like,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        n=request.n,
        seed=new_seed(),
        steps=request.steps if request.kind == "generate" else None,
        guidance_scale=request.guidance_scale if request.kind == "generate" else None,
        decoder_steps=request.decoder_steps,
        decoder_guidance_scale=request.decoder_guidance_scale,
    )


def find_image(job: Job, index: int | None) -> Image:
    """Return a picture of a job; without an index its first.

    Raises:
        Refusal: it was deleted.
    """
    images = job.images if index is None else tuple(filter(None, (job.image(index),)))
    if not images:
        raise Refusal.because("picture_gone")
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
        Refusal: it is no size.
    """
    if not text.strip():
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Refusal.because("no_size", given=escape(text.strip()[:20]))
    return int(found[1]), int(found[2])


def parse_seed(text: str) -> int:
    """Read a seed; a new one where nothing is given.

    Raises:
        Refusal: it is no seed.
    """
    digits = text.strip()
    if not digits:
        return new_seed()
    if not (digits.isascii() and digits.isdigit() and int(digits) <= MAX_SEED):
        raise Refusal.because("no_seed", highest=MAX_SEED)
    return int(digits)
