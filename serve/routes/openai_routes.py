"""OpenAI's images API: ``/v1/images/generations`` and ``/v1/images/variations``."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, Response

from cascade_core.errors import ContentRefused, InvalidRequest, NotFound
from cascade_core.png_info import read_png_info
from cascade_core.request import GenerationRequest
from serve.access import Caller, Creator
from serve.claims import make_claim
from serve.http_errors import error_response
from serve.openai_images import (
    Output,
    UrlOf,
    check_same_size,
    failure,
    generate_body,
    generate_output,
    images_answer,
    vary_body,
)
from serve.openai_schemas import ImagesAnswer, ImagesBody, VariationForm
from serve.openai_stream import ImageStream
from serve.routes.shared import HeldOpen, Needs, check_model, event_stream, secured
from serve.routes.submission import find_job, resolve, submit_for_client, wait_for_client
from serve.schemas import JobBody
from serve.services import Services
from serve.share import ShareLinks

URL_EXPIRES_S = 3600

_LOCATION = {"Location": {"description": "The job.", "schema": {"type": "string"}}}
_STREAM_EXAMPLE = """event: image_generation.partial_image
data: {"type":"image_generation.partial_image","b64_json":"...","partial_image_index":0}

event: image_generation.completed
data: {"type":"image_generation.completed","b64_json":"...","image_id":"01JX..."}

"""
_ERRORS = secured(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)

logger = logging.getLogger(__name__)
router = APIRouter(tags=["OpenAI"])


@router.post(
    "/v1/images/generations",
    response_model=ImagesAnswer,
    responses={
        200: {
            "description": "The images; with `stream` as Server-Sent Events, and an event `error` "
            "with the usual body if the job fails",
            "content": event_stream(
                _STREAM_EXAMPLE,
                "image_generation.partial_image",
                "image_generation.completed",
                "error",
            ),
            "headers": _LOCATION,
        },
        **_ERRORS,
    },
)
async def generate_images(
    services: Needs, caller: Creator, http_request: Request, body: ImagesBody, _held: HeldOpen
) -> Response:
    """Draw images as OpenAI's API does; closing the connection cancels the job."""
    check_model(services, body.model)
    output = generate_output(body, _url_of(services, http_request))
    job_body = generate_body(body, services.checkpoint.defaults.max_side)
    request = await resolve(services, caller, job_body)
    job_id = await _submit(services, caller, request, job_body)
    if not body.stream:
        return await _answer(services, caller, http_request, job_id, output)
    state = http_request.app.state
    return ImageStream(
        services,
        state.hub,
        job_id,
        request,
        output,
        partial_images=body.partial_images or 0,
        keep_alive_s=state.keep_alive_s,
    )


@router.post(
    "/v1/images/variations",
    response_model=ImagesAnswer,
    responses={200: {"description": "The images", "headers": _LOCATION}, **_ERRORS},
)
async def vary_image(
    services: Needs,
    caller: Creator,
    http_request: Request,
    form: Annotated[VariationForm, Form(media_type="multipart/form-data")],
    _held: HeldOpen,
) -> Response:
    """Draw new details on an image of this service, whose PNG file names its latent.

    The file's pixels are not looked at, and no address in it is followed.
    """
    check_model(services, form.model)
    job_body = vary_body(form, await _latent_id(form))
    try:
        request = await resolve(services, caller, job_body)
    except NotFound as error:
        raise NotFound("the latent of this image is not there", "image") from error
    except ContentRefused as error:
        raise ContentRefused(error.message, "image") from error
    check_same_size(form.size, request)
    job_id = await _submit(services, caller, request, job_body)
    url_of = None if form.response_format == "b64_json" else _url_of(services, http_request)
    output = Output(request.format, url_of=url_of)
    return await _answer(services, caller, http_request, job_id, output)


def _url_of(services: Services, http_request: Request) -> UrlOf:
    """Return what makes addresses that anybody can fetch for an hour, as OpenAI's."""
    base_url = services.settings.public_url or str(http_request.base_url)
    links: ShareLinks = http_request.app.state.share_links
    return lambda image_id: links.make(base_url, image_id, URL_EXPIRES_S)[0]


async def _latent_id(form: VariationForm) -> str:
    """Return the latent id that a file claims to have; anybody can write anything there."""
    info = await asyncio.to_thread(read_png_info, form.image.file)
    latent_id = info.get("latent_id") if info else None
    if not isinstance(latent_id, str):
        raise InvalidRequest("the image must be a PNG file that this service made", "image")
    return latent_id


async def _submit(
    services: Services, caller: Caller, request: GenerationRequest, body: JobBody
) -> str:
    # No Idempotency-Key here: a client that lost its connection has lost its job with it, and must
    # get another one when it asks again.
    owner = caller.owner(body.user)
    claim = make_claim(body.model_dump(mode="json"), owner)
    submitting = services.jobs.submit(request, None, owner, claim)
    job_id = await submit_for_client(services, submitting, claim)
    logger.info("accepted job %s", job_id)
    return job_id


async def _answer(
    services: Services, caller: Caller, http_request: Request, job_id: str, output: Output
) -> Response:
    """Wait for the job and return its images, or why there are none."""
    wait_s = services.settings.sync_wait_s
    end = http_request.app.state.hub.ended(job_id, wait_s)
    await wait_for_client(services, http_request, job_id, end)
    job = await find_job(services, caller, job_id)
    error = failure(job, wait_s)
    if error is not None:
        return error_response(error, job_id=job_id)
    answer = await images_answer(services, job, output)
    headers = {"location": f"/v1/jobs/{job_id}"}
    return JSONResponse(answer.model_dump(exclude_none=True), headers=headers)
