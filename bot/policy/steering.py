"""Builds the requests that start from a picture's stored composition; does no I/O."""

from __future__ import annotations

from dataclasses import replace

from bot.policy.job_request import (
    EditedValues,
    JobRequest,
    base_request,
    check_prompt,
    find_image,
    parse_seed,
    parse_size,
)
from bot.service.models import Image, Job, ModelInfo
from bot.text.error_messages import UserError
from bot.text.markdown import one_line
from cascade_core.model_defaults import DEFAULT_STRENGTH, StrengthWord
from cascade_core.operations.registry import DECODE, IMAGE_TO_IMAGE, VARY

FINER_STEPS = 20
"""Decoder steps of a finer picture, as OpenAI's quality ``high``; more change little."""


def vary_composition(
    job: Job, index: int | None, strength: StrengthWord, template: JobRequest
) -> JobRequest:
    """Return the request for a new composition near that of a job's picture.

    Raises:
        UserError: the picture is gone.
    """
    image = find_image(job, index)
    request = base_request(job, strength, template, image.index)
    return replace(_from_latent(request, job, image), operation=VARY, strength=strength)


def remix(job: Job, values: EditedValues, template: JobRequest) -> JobRequest:
    """Return the request for a picture's composition with another prompt.

    A seed that the person left unchanged is the picture's, not one for the new composition.

    Raises:
        UserError: the picture is gone, several were chosen, or a value is not valid.
    """
    if values.which == "all":
        raise UserError.because("keep_one")
    image = find_image(job, int(values.which) if values.which.isdecimal() else None)
    size = (image.width, image.height)
    if (parse_size(values.size) or size) != size:
        raise UserError.because("keep_size", width=image.width, height=image.height)
    typed = values.seed.strip()
    request = _from_latent(base_request(job, "remix", template), job, image)
    return replace(
        request,
        operation=VARY,
        strength=DEFAULT_STRENGTH,
        prompt=check_prompt(values.prompt),
        negative_prompt=one_line(values.negative_prompt),
        seed=parse_seed("" if typed == values.filled_seed else typed),
    )


def larger(job: Job, index: int | None, model: ModelInfo, template: JobRequest) -> JobRequest:
    """Return the request for a picture half as large again per side.

    Raises:
        UserError: the picture is gone, or that is no size of the model.
    """
    image = find_image(job, index)
    size = larger_size(image, model)
    if size is None:
        raise UserError.because("no_larger")
    request = _decode(base_request(job, "larger", template, image.index), job, image)
    return replace(request, width=size[0], height=size[1])


def finer(job: Job, index: int | None, template: JobRequest) -> JobRequest:
    """Return the request for a picture with more decoder steps.

    Raises:
        UserError: the picture is gone, or already has that many.
    """
    image = find_image(job, index)
    if not may_be_finer(job):
        raise UserError.because("no_finer")
    request = _decode(base_request(job, "finer", template, image.index), job, image)
    return replace(request, decoder_steps=FINER_STEPS)


def pick(job: Job, index: int | None, template: JobRequest) -> JobRequest:
    """Return the request that finishes one of a job's drafts, as the whole job would have.

    A job can be continued once, but people choose one draft after another, also days later.
    Decoding a draft's latent with its own seed of details makes the same pixels.

    Raises:
        UserError: the draft is gone.
    """
    draft = next((one for one in job.compositions if one.index == index), None)
    if draft is None:
        raise UserError.because("picture_gone")
    return replace(
        base_request(job, "pick", template),
        operation=DECODE,
        latent_id=draft.latent_id,
        decoder_seed=draft.decoder_seed,
        n=1,
        steps=None,
    )


def start(picture: str, job: Job | None, template: JobRequest) -> JobRequest:
    """Return the request for a picture that starts from another one.

    Args:
        picture: the index of a picture of ``job``; without a job, the address of an attachment.
        job: of the bot that made the picture; None for an attachment.
        template: has the prompt and the strength.

    Raises:
        UserError: the picture is gone, or the prompt is empty.
    """
    request = replace(
        template,
        operation=IMAGE_TO_IMAGE,
        means="start",
        prompt=check_prompt(template.prompt),
        negative_prompt=one_line(template.negative_prompt),
    )
    if job is None:
        return replace(request, attachment_url=picture)
    image = find_image(job, int(picture))
    return replace(request, image=image.id, of=(job.id, image.index))


def larger_size(image: Image, model: ModelInfo) -> tuple[int, int] | None:
    """Return 1.5 times a picture's (width, height) in pixels; None if the model cannot make it.

    The published Stage B was trained for 1.5 times a composition's usual size.
    """
    sides = [side * 3 // 2 for side in (image.width, image.height)]
    is_size = all(side <= model.max_side and side % model.multiple_of == 0 for side in sides)
    return (sides[0], sides[1]) if is_size and model.offers(DECODE.name) else None


def may_be_finer(job: Job) -> bool:
    """Return True if a job's pictures have fewer decoder steps than :data:`FINER_STEPS`."""
    return job.request.decoder_steps < FINER_STEPS


def _from_latent(request: JobRequest, job: Job, image: Image) -> JobRequest:
    return replace(request, latent_id=image.latent_id, of=(job.id, image.index), n=1)


def _decode(request: JobRequest, job: Job, image: Image) -> JobRequest:
    """Return a request that draws a composition again, with the picture's seed of details.

    Stage C does not run, so a limit of its steps does not apply.
    """
    decoding = _from_latent(request, job, image)
    return replace(decoding, operation=DECODE, decoder_seed=image.decoder_seed, steps=None)
