"""Translates between OpenAI's images API and ours."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from cascade_core.errors import (
    Cancelled,
    CascadeError,
    Gone,
    InvalidRequest,
    Unsupported,
    WaitTooLong,
)
from cascade_core.errors import from_dict as error_from_dict
from cascade_core.operations.fields import ImageFormat, check_side
from cascade_core.operations.registry import GENERATE, VARY_DETAILS
from cascade_core.request import GenerationRequest
from serve.gateway.dependencies import Services
from serve.gateway.openai.schemas import ImageData, ImagesAnswer, ImagesBody, VariationForm
from serve.gateway.schemas.jobs import JobBody
from serve.served_models import OpenModel
from serve.storage.blobs.blob_keys import image_key
from serve.storage.records import Job

_QUALITY_STEPS: Final = {"low": 4, "medium": 10, "high": 20, "xhigh": 20, "max": 20, "hd": 20}
"""The decoder's steps by OpenAI's word; other words stand for the model's default."""
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)

UrlOf = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Output:
    """The form in which a client wants its images.

    Attributes:
        image_format: of the files.
        quality: 0 to 100; None: as stored.
        url_of: makes an image's address from its id; None: as Base64 in the answer.
        warnings: about what the client asked for and does not get.
        drawn_quality: OpenAI's word for how many steps drew the details.
    """

    image_format: ImageFormat
    quality: int | None = None
    url_of: UrlOf | None = None
    warnings: tuple[str, ...] = ()
    drawn_quality: str = "auto"


def generate_body(body: ImagesBody, model: OpenModel) -> JobBody:
    """Return the job that makes these images with a model.

    Raises:
        InvalidRequest: the size cannot be read, or the model does not make it.
    """
    values = body.model_dump(include=set(GENERATE.fields))
    if values["decoder_steps"] is None:
        values["decoder_steps"] = _QUALITY_STEPS.get(body.quality or "auto")
    size = body.size or "auto"
    if size != "auto":
        values |= _sides(size, model.checkpoint.defaults.max_side)
    # Another quality is made when the image is sent, from a stored file without losses.
    stored = "png" if body.output_compression is not None else body.output_format or "png"
    user = body.safety_identifier or body.user
    return JobBody(**values, model=model.id, format=stored, user=user)


def vary_body(form: VariationForm, model_id: str | None, latent_id: str) -> JobBody:
    """Return the job that varies an image's details; without a model, that of the image."""
    values = form.model_dump(include=set(VARY_DETAILS.fields))
    own = {"kind": VARY_DETAILS.name, "latent_id": latent_id}
    return JobBody(**values | own, model=model_id, user=form.user)


def generate_output(body: ImagesBody, url_of: UrlOf | None) -> Output:
    """Return the form of the images; ``url_of`` makes their addresses if the client wants those.

    Raises:
        Unsupported: the client wants addresses and something that only bytes can have.
    """
    image_format = body.output_format or "png"
    # OpenAI's events know no other words.
    drawn_quality = body.quality if body.quality in ("low", "medium", "high") else "auto"
    warnings = []
    if body.decoder_steps is not None and body.quality in _QUALITY_STEPS:
        warnings.append("quality is not used: decoder_steps decides")
    if body.style is not None:
        warnings.append("style is not used: describe it in the prompt")
    if image_format == "png" and body.output_compression not in (None, 100):
        warnings.append("output_compression is not used: PNG loses nothing")
    if url_of is None:
        return Output(image_format, body.output_compression, None, tuple(warnings), drawn_quality)
    if body.stream:
        raise Unsupported("a stream carries the images itself: b64_json", "response_format")
    if body.output_compression is not None:
        raise Unsupported("output_compression goes with b64_json", "output_compression")
    return Output(image_format, None, url_of, tuple(warnings))


def check_same_size(size: str | None, request: GenerationRequest) -> None:
    """Check that a variation's size, if the client names one, is the image's own.

    Raises:
        InvalidRequest: it is not.
    """
    if size not in (None, "auto", size_text(request)):
        message = f"size must be that of the image, {size_text(request)}; leave it out"
        raise InvalidRequest(message, "size")


def size_text(request: GenerationRequest) -> str:
    """Return a request's size, such as ``256x384``."""
    return f"{request.width}x{request.height}"


def failure(job: Job, waited_s: float) -> CascadeError | None:
    """Return why a job that a client waited for has no images; None if it has images."""
    if job.state == "succeeded":
        return None
    if job.state == "failed":
        return error_from_dict(job.error or {})
    if job.state == "cancelled":
        return Cancelled("the job was cancelled")
    return WaitTooLong(f"job {job.id} is not done after {waited_s:g} s; see /v1/jobs/{job.id}")


async def images_answer(services: Services, job: Job, output: Output) -> ImagesAnswer:
    """Return a finished job's images.

    Raises:
        NotFound, NotReady: an image's bytes are gone, or the store does not answer.
    """
    data = []
    for image in job.images:
        shown = ImageData(
            image_id=image.id,
            latent_id=image.latent_id,
            seed=image.seed,
            decoder_seed=image.decoder_seed,
        )
        if output.url_of:
            shown.url = await output.url_of(image.id)
        else:
            shown.b64_json = await image_b64(services, image.id, job.request, output)
        data.append(shown)
    return ImagesAnswer(
        created=int(job.created_at.timestamp()),
        data=data,
        output_format=output.image_format,
        size=size_text(job.request),
        job_id=job.id,
        warnings=[*job.warnings, *output.warnings],
    )


async def image_b64(
    services: Services, image_id: str, request: GenerationRequest, output: Output
) -> str:
    """Return a stored image in the client's form, in Base64.

    Raises what the store raises, and `ProvenanceFailed`.
    """
    try:
        data = await services.blobs.get_known(image_key(image_id, request.format), "this image")
    except Gone as error:
        image = await services.database.run(services.database.images.get, image_id)
        if image is not None and image.deleted_at is not None:
            raise Gone("this image was deleted") from error
        raise
    quality = None if output.image_format == "png" else output.quality
    conversions = services.conversions

    def as_b64() -> str:
        return base64.b64encode(conversions.convert(data, output.image_format, quality)).decode()

    return await conversions.run(as_b64)


def _sides(size: str, max_side_px: int) -> dict[str, int]:
    match = _SIZE.fullmatch(size)
    if match is None:
        raise InvalidRequest("size must be WIDTHxHEIGHT, such as 512x512, or auto", "size")
    sides = {"width": int(match[1]), "height": int(match[2])}
    for name, side in sides.items():
        try:
            check_side(name, side, max_side_px)
        except InvalidRequest as error:
            raise InvalidRequest(f"size: {error.message}", "size") from error
    return sides
