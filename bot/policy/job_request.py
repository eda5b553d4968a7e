"""Builds the request for a job from a person's choices; does no I/O."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.policy.message_credit import Means
from bot.service.models import Image, Job
from bot.text.error_messages import UserError
from bot.text.markdown import escape, one_line
from cascade_core.operations.fields import MAX_SEED
from cascade_core.operations.operation import Operation
from cascade_core.operations.registry import GENERATE, VARY_DETAILS, find_operation
from cascade_core.operations.template import fill

MAX_IMAGES = 4
_SIZE = re.compile(r"\s*(\d{2,5})\s*[x×*]\s*(\d{2,5})\s*", re.IGNORECASE)  # noqa: RUF001


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """The fields of a job's request, and how its outcome is shown.

    Attributes:
        operation: the kind of job.
        model: the id of the model; None: that of what it starts from, or the service's default.
        prompt: of the pictures; the template of a series.
        width, height: pixels; None: the model's default.
        n: number of pictures.
        seed, decoder_seed: of the composition and of the details; None: the service chooses.
        latent_id: the stored composition to start from; None: compose a new picture.
        strength: how far to depart from that composition, 0 to 1 or a word of the service's.
        image: the upload or the picture to start from; None: there is none.
        attachment_url: where Discord has a picture that is uploaded first and becomes ``image``;
            empty: there is none.
        stop_after: the stage after which the job waits for a choice; None: it does not.
        variants: of each picture of a series, the values of its template's variables.
        models: several models that are compared in place of one ``model``; empty: none.
        steps_of_models: for each of them; empty: each takes its own default.
        of: the picture that the job starts from, as job id and index.
        means: the button that the request comes from; None: a command.
        source: link to the message that the request starts from.
        private: only the person sees the outcome.
        spoiler: the pictures are hidden until they are clicked.
        preview: show previews during the job.
    """

    operation: Operation = GENERATE
    model: str | None = None
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
    strength: float | str | None = None
    image: str | None = None
    attachment_url: str = ""
    stop_after: str | None = None
    variants: Sequence[Mapping[str, str]] | None = None
    models: tuple[str, ...] = ()
    steps_of_models: tuple[int, ...] = ()
    of: tuple[str, int] | None = None
    means: Means | None = None
    source: str = ""
    private: bool = False
    spoiler: bool = False
    preview: bool = True

    @property
    def template(self) -> str:
        """Return what the pictures of a series share."""
        return self.prompt

    @property
    def hero(self) -> str | None:
        """Return the stored composition that a series keeps; None: that of its first picture."""
        return self.latent_id

    @property
    def prompts(self) -> Sequence[str]:
        """Return the prompts of its pictures; one if they share it."""
        if self.variants is None:
            return [self.prompt]
        return [fill(self.prompt, values) for values in self.variants]

    def to_body(self) -> dict[str, Any]:
        """Return the JSON body for the service, which chooses absent fields itself."""
        decided = self.operation.fixed_by_latent if self.latent_id else ()
        names = ["model", *(name for name in self.operation.fields if name not in decided)]
        given = {name: getattr(self, name, None) for name in names}
        chosen = {name: value for name, value in given.items() if value is not None}
        return {"kind": self.operation.name} | chosen

    def to_comparison(self) -> dict[str, Any]:
        """Return the JSON body of the comparison of its ``models``."""
        body = self.to_body()
        del body["kind"]
        if not self.steps_of_models:
            return body | {"models": list(self.models)}
        pairs = zip(self.models, self.steps_of_models, strict=True)
        return body | {"settings": [{"model": name, "steps": steps} for name, steps in pairs]}


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedValues:
    """The values in a form for a picture, before or after a person edits them.

    Attributes:
        which: index of the edited picture; ``all``; or empty if there is only one.
        filled_seed: the seed with which the form was filled in.
        keep: keep the picture's composition.
        strength: how far to depart from the picture, as typed.
        variants: of a series, as typed; ``prompt`` is its template.
    """

    prompt: str = ""
    negative_prompt: str = ""
    seed: str = ""
    size: str = ""
    which: str = ""
    filled_seed: str = ""
    keep: bool = False
    strength: str = ""
    variants: str = ""


def new_seed() -> int:
    """Return a random seed."""
    return secrets.randbelow(MAX_SEED + 1)


def check_prompt(text: str) -> str:
    """Return a prompt in one line, as the service gets it.

    Raises:
        UserError: the prompt has no visible characters.
    """
    prompt = one_line(text)
    if not prompt:
        raise UserError.because("empty_prompt")
    return prompt


def vary(job: Job, index: int, template: JobRequest) -> JobRequest:
    """Return the request for new details of one picture of a job.

    Raises:
        UserError: the picture is gone.
    """
    image = find_image(job, index)
    request = replace(
        base_request(job, "vary", template, index),
        operation=VARY_DETAILS,
        latent_id=image.latent_id,
        of=(job.id, index),
    )
    # Stage C does not run, so a limit of its steps does not apply.
    return replace(request, n=1, steps=None)


def reroll(job: Job, of: tuple[str, int] | None, template: JobRequest) -> JobRequest:
    """Return the request of a job with a new seed; ``of`` is the picture that it starts from.

    A job that shares its composition with others gets a new one: its latent has no other seed.
    """
    request = replace(base_request(job, "reroll", template), seed=new_seed())
    return _like(job, of, request) if "seed" in _operation(job).fields else request


def again(job: Job, of: tuple[str, int] | None, template: JobRequest) -> JobRequest:
    """Return exactly the request of a job; ``of`` is the picture that it starts from."""
    earlier = job.request
    request = base_request(job, "again", template)
    request = replace(request, seed=earlier.seed, decoder_seed=earlier.decoder_seed)
    return _like(job, of, request)


def edit(job: Job, values: EditedValues, template: JobRequest) -> JobRequest:
    """Return the request for a job's picture with the values of the Edit form.

    A seed that the person left unchanged keeps the picture's own seeds, and so its details. A
    picture that started from another one starts from it again.

    Raises:
        UserError: the picture is gone, or a value is not valid.
    """
    earlier = job.request
    request = base_request(job, "edit", template)
    first, count = _chosen(job, values.which)
    if values.seed.strip() and values.seed.strip() == values.filled_seed:
        request = replace(request, seed=first.seed, decoder_seed=first.decoder_seed)
    else:
        request = replace(request, seed=parse_seed(values.seed))
    width, height = parse_size(values.size) or (earlier.width, earlier.height)
    operation = _operation(job)
    if operation.takes_image:
        strength = earlier.strength
        request = replace(request, operation=operation, image=earlier.image, strength=strength)
    return replace(
        request,
        prompt=check_prompt(values.prompt),
        negative_prompt=one_line(values.negative_prompt),
        width=width,
        height=height,
        n=count,
    )


def _chosen(job: Job, which: str) -> tuple[Image, int]:
    """Return the first edited picture, and the number of edited pictures.

    Raises:
        UserError: the picture was deleted.
    """
    if which.isdecimal():
        return find_image(job, int(which)), 1
    first = find_image(job, None)
    # Without a seed, the pictures share one composition, so one request redraws only the first.
    has_seeds = "seed" in _operation(job).fields
    count = job.images[-1].index - first.index + 1 if has_seeds else 1
    return first, count


def _operation(job: Job) -> Operation:
    return find_operation(job.kind) or GENERATE


def _like(job: Job, of: tuple[str, int] | None, request: JobRequest) -> JobRequest:
    """Return a request with a job's operation and what that starts from."""
    operation, earlier = _operation(job), job.request
    return replace(
        request,
        operation=operation,
        latent_id=earlier.latent_id,
        strength=earlier.strength,
        image=earlier.image,
        stop_after=earlier.stop_after,
        variants=earlier.variants,
        of=of,
        # Where the composition is not made anew, a limit of its steps does not apply.
        steps=earlier.steps if "steps" in operation.fields else None,
    )


def base_request(
    job: Job, means: Means, template: JobRequest, index: int | None = None
) -> JobRequest:
    """Return a request for new pictures with a job's values, but without its seeds.

    Its prompt is that of the picture with that index, or the template of a series.
    """
    earlier = job.request
    return replace(
        template,
        means=means,
        model=earlier.model,
        prompt=earlier.prompt if index is None else earlier.prompt_of(index),
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
    """Return a picture of a job; the first one if ``index`` is None.

    Raises:
        UserError: the picture was deleted.
    """
    images = job.images if index is None else tuple(filter(None, (job.image(index),)))
    if not images:
        raise UserError.because("picture_gone")
    return images[0]


def parse_size(text: str) -> tuple[int, int] | None:
    """Return the (width, height) in a text such as ``1024x768``; None if the text is blank.

    Raises:
        UserError: the text is not a size.
    """
    if not text.strip():
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UserError.because("no_size", given=escape(text.strip()[:20]))
    return int(found[1]), int(found[2])


def parse_seed(text: str) -> int:
    """Return the seed in a text; a random one if the text is blank.

    Raises:
        UserError: the text is not a seed.
    """
    digits = text.strip()
    if not digits:
        return new_seed()
    if not (digits.isascii() and digits.isdigit() and int(digits) <= MAX_SEED):
        raise UserError.because("no_seed", highest=MAX_SEED)
    return int(digits)
