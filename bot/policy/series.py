"""Reads the template and the variants of a series as people type them, and builds its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.policy.job_request import (
    EditedValues,
    JobRequest,
    base_request,
    check_prompt,
    find_image,
    parse_seed,
)
from bot.policy.prompt_parameters import check_parameters
from bot.policy.strength import parse_strength
from bot.service.models import Image, Job
from bot.text.catalog import Translator
from bot.text.error_messages import UserError
from bot.text.markdown import MAX_PROMPT_CHARS, escape, one_line, shorten
from cascade_core.errors import InvalidRequest
from cascade_core.operations.registry import SERIES
from cascade_core.operations.template import fill, variables_of

MAX_VARIANTS = 10
"""Pictures of a series: a message of Discord shows no more."""
MAX_VARIANTS_CHARS = 2000
_BETWEEN_VALUES = "/"
_GIVEN_CHARS = 60


def typed_request(translate: Translator, values: EditedValues) -> JobRequest:
    """Return the request for a series from its template, variants and strength as typed.

    The other values are only checked for parameters.

    Raises:
        UserError: a value is not valid.
    """
    template = check_prompt(values.prompt)
    variants = parse_variants(template, values.variants)
    request = JobRequest(
        operation=SERIES,
        prompt=template,
        variants=variants,
        n=len(variants),
        strength=parse_strength(translate, values.strength),
    )
    check_parameters(translate, *request.prompts, values.negative_prompt)
    return request


def with_hero(request: JobRequest, job: Job, image: Image) -> JobRequest:
    """Return the request of a series that keeps the composition of a job's picture."""
    of = (job.id, image.index)
    return replace(request, latent_id=image.latent_id, steps=job.request.steps, of=of)


def from_picture(
    job: Job, values: EditedValues, typed: JobRequest, template: JobRequest
) -> JobRequest:
    """Return the request for a series that keeps the composition of the picture that was chosen.

    Args:
        job: of the picture.
        values: of the form; ``which`` may be left out if the job has one picture.
        typed: what :func:`typed_request` made of the same values.
        template: how the outcome is shown.

    Raises:
        UserError: the picture is gone, or the seed is not valid.
    """
    image = find_image(job, int(values.which) if values.which.isdecimal() else None)
    request = replace(
        _as_typed(template, typed),
        means="hero",
        negative_prompt=one_line(values.negative_prompt),
        seed=parse_seed(values.seed),
    )
    return with_hero(request, job, image)


def edit(
    job: Job,
    of: tuple[str, int] | None,
    values: EditedValues,
    typed: JobRequest,
    template: JobRequest,
) -> JobRequest:
    """Return the request for a series with the values of the form; it keeps the series' hero.

    Args:
        job: the series.
        of: the picture that is its hero, as job id and index; None: its first picture is.
        values: of the form. A seed that the person left unchanged keeps the series' own seeds.
        typed: what :func:`typed_request` made of the same values.
        template: how the outcome is shown.

    Raises:
        UserError: the seed is not valid.
    """
    earlier = job.request
    request = replace(
        _as_typed(base_request(job, "edit", template), typed),
        negative_prompt=one_line(values.negative_prompt),
        latent_id=earlier.latent_id,
        of=of,
    )
    if values.seed.strip() and values.seed.strip() == values.filled_seed:
        return replace(request, seed=earlier.seed, decoder_seed=earlier.decoder_seed)
    return replace(request, seed=parse_seed(values.seed))


def parse_variants(template: str, typed: str) -> list[dict[str, str]]:
    """Return the values of a template's variables, for each picture of a series.

    Pictures are separated by commas; by semicolons instead, if there is one. The values of one
    picture are separated by slashes and have the order of the variables in the template.

    Raises:
        UserError: the template has no variable or a lone brace, there are too many pictures, or a
            picture lacks a value, has one too many, or a prompt that is too long.
    """
    names = _variables(template)
    separator = ";" if ";" in typed else ","
    parts = [part for part in map(one_line, typed.split(separator)) if part]
    if not 1 <= len(parts) <= MAX_VARIANTS:
        raise UserError.because("series_count", count=len(parts), most=MAX_VARIANTS)
    variants = [_variant(names, part) for part in parts]
    for part, values in zip(parts, variants, strict=True):
        if len(fill(template, values)) > MAX_PROMPT_CHARS:
            raise UserError.because("series_length", given=_given(part), most=MAX_PROMPT_CHARS)
    return variants


def format_variants(template: str, variants: Sequence[Mapping[str, str]]) -> str:
    """Return variants as :func:`parse_variants` reads them; empty if it reads other ones."""
    labels = [label_of(template, values) for values in variants]
    typed = (", " if not any("," in label for label in labels) else "; ").join(labels)
    try:
        is_same = parse_variants(template, typed) == list(map(dict, variants))
    except UserError:
        return ""
    return typed if is_same else ""


def label_of(template: str, values: Mapping[str, str]) -> str:
    """Return what tells a picture from the others of its series: the values of its variables."""
    return f" {_BETWEEN_VALUES} ".join(values[name] for name in variables_of(template))


def _as_typed(request: JobRequest, typed: JobRequest) -> JobRequest:
    return replace(
        request,
        operation=typed.operation,
        prompt=typed.prompt,
        variants=typed.variants,
        n=typed.n,
        strength=typed.strength,
    )


def _variables(template: str) -> tuple[str, ...]:
    try:
        names = variables_of(template)
    except InvalidRequest as error:
        raise UserError.because("series_template") from error
    if not names:
        raise UserError.because("series_template")
    return names


def _variant(names: Sequence[str], part: str) -> dict[str, str]:
    texts = [part] if len(names) == 1 else part.split(_BETWEEN_VALUES)
    values = [text.strip() for text in texts]
    if len(values) != len(names) or not all(values):
        wanted = f" {_BETWEEN_VALUES} ".join(names)
        raise UserError.because("series_values", given=_given(part), wanted=escape(wanted))
    return dict(zip(names, values, strict=True))


def _given(part: str) -> str:
    return escape(shorten(part, _GIVEN_CHARS))
