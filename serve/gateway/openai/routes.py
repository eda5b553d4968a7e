"""OpenAI's images API: ``/v1/images/generations`` and ``/v1/images/variations``."""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import Form, Request
from starlette.responses import JSONResponse, Response

from cascade_core.errors import (
    CascadeError,
    ContentRefused,
    InvalidRequest,
    NotFound,
    NotReady,
    Unsupported,
)
from cascade_core.images.png_info_reader import read_png_info
from serve.gateway.auth.permissions import Caller, Creator
from serve.gateway.dependencies import HeldOpen, IdempotencyKeyHeader, Services, ServicesDep
from serve.gateway.idempotency import make_identity
from serve.gateway.lookups import find_job
from serve.gateway.openai.schemas import ImagesAnswer, ImagesBody, VariationForm
from serve.gateway.openai.stream import ImageStream
from serve.gateway.openai.translation import (
    Output,
    UrlOf,
    check_same_size,
    failure,
    generate_body,
    generate_output,
    images_answer,
    vary_body,
)
from serve.gateway.openapi import event_stream_content, new_router, secured
from serve.gateway.public_address import public_address
from serve.gateway.submission import Submission, submit, unknown_outcome, wait_until_ended
from serve.gateway.waiting_clients import AcceptedJob
from serve.responses.errors import error_response

URL_EXPIRES_S = 3600
_NO_LATENT = (
    "what this image was made from is not there: it was deleted, is another service's, or belongs "
    "to another API key or user"
)

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
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)

router = new_router("OpenAI")


@router.post(
    "/v1/images/generations",
    response_model=ImagesAnswer,
    responses={
        200: {
            "description": "The images; with `stream` as Server-Sent Events, and an event `error` "
            "with the usual body if the job fails",
            "content": event_stream_content(
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
    services: ServicesDep,
    caller: Creator,
    http_request: Request,
    body: ImagesBody,
    _held: HeldOpen,
    idempotency_key: IdempotencyKeyHeader = "",
) -> Response:
    """Draw images as OpenAI's API does; closing the connection cancels the job."""
    model = caller.models(services.models).find(body.model)
    url_of = None
    if _wants_urls(body, services.settings.response_format):
        url_of = _url_of(services, caller, http_request)
    output = generate_output(body, url_of)
    job_body = generate_body(body, model)
    owner = caller.owner(job_body.user)
    identity = make_identity(body.model_dump(mode="json"), owner, key=idempotency_key)
    is_watched = bool(body.stream and body.partial_images)
    submission = Submission(
        caller=caller, body=job_body, identity=identity, is_waiting=True, is_watched=is_watched
    )
    accepted = await submit(services, submission)
    if not body.stream:
        return await _answer(services, http_request, submission, accepted, output)
    # Not read for a new job: a client that leaves meanwhile would leave the job running.
    request = accepted.request or (await find_job(services, caller, accepted.job_id)).request
    return ImageStream(services, request, accepted, output, body.partial_images or 0)


@router.post("/v1/images/edits", status_code=HTTPStatus.NOT_FOUND, include_in_schema=False)
async def edit_image(_caller: Creator, http_request: Request) -> Response:
    """Answer 404 once the files have arrived, so that clients read that edits are not offered."""
    async for _ in http_request.stream():
        pass
    message = (
        "this service does not edit pictures; POST /v1/images/variations draws new details on "
        "one of its own"
    )
    return error_response(NotFound(message))


@router.post(
    "/v1/images/variations",
    response_model=ImagesAnswer,
    responses={200: {"description": "The images", "headers": _LOCATION}, **_ERRORS},
)
async def vary_image(
    services: ServicesDep,
    caller: Creator,
    http_request: Request,
    form: Annotated[VariationForm, Form(media_type="multipart/form-data")],
    idempotency_key: IdempotencyKeyHeader = "",
) -> Response:
    """Draw new details on an image of this service, whose PNG file names its latent.

    The file's pixels are not read, and no address in it is followed.
    """
    model_id = form.model and caller.models(services.models).find(form.model).id
    url_of = None
    if (form.response_format or services.settings.response_format) != "b64_json":
        url_of = _url_of(services, caller, http_request)
    output = Output("png", url_of=url_of)
    job_body = vary_body(form, model_id, await _latent_id(form))
    asked = form.model_dump(mode="json", exclude={"image"}) | {"latent_id": job_body.latent_id}
    submission = Submission(
        caller=caller,
        body=job_body,
        identity=make_identity(asked, caller.owner(job_body.user), key=idempotency_key),
        is_waiting=True,
        is_watched=False,
        check=partial(check_same_size, form.size),
    )
    try:
        accepted = await submit(services, submission)
    except NotFound as error:
        raise NotFound(_NO_LATENT, "image") from error
    except ContentRefused as error:
        raise ContentRefused(error.message, "image") from error
    return await _answer(services, http_request, submission, accepted, output)


def _wants_urls(body: ImagesBody, default: str) -> bool:
    if body.response_format is None and (body.stream or body.output_compression is not None):
        return False  # the default is not asked for, and addresses do not go with these
    return (body.response_format or default) == "url"


def _url_of(services: Services, caller: Caller, http_request: Request) -> UrlOf:
    """Return a function that makes an image's address, which needs no key for an hour.

    Raises:
        Unsupported: the service does not know its own address.
    """
    base_url = public_address(services.settings, http_request)
    if base_url is None:
        message = (
            "this service does not know under which address it is reached, and can give none: "
            "ask for b64_json, or set CASCADE_PUBLIC_URL where it runs"
        )
        raise Unsupported(message, "response_format")

    async def url_of(image_id: str) -> str:
        return (
            base_url + (await services.share_links.make(image_id, URL_EXPIRES_S, caller.key_id))[0]
        )

    return url_of


async def _latent_id(form: VariationForm) -> str:
    """Return the latent id in a file's metadata, which is not trusted."""
    info = await asyncio.to_thread(read_png_info, form.image.file)
    latent_id = info.get("latent_id") if info else None
    if not isinstance(latent_id, str):
        raise InvalidRequest("the image must be a PNG file that this service made", "image")
    return latent_id


async def _answer(
    services: Services,
    http_request: Request,
    submission: Submission,
    accepted: AcceptedJob,
    output: Output,
) -> Response:
    """Wait for the job and return its images, or why there are none."""
    wait_s, job_id = services.settings.sync_wait_s, accepted.job_id
    await wait_until_ended(services, http_request, accepted, wait_s)
    try:
        job = await find_job(services, submission.caller, job_id)
        error = failure(job, wait_s)
        if error is not None:
            return _failed(error, job_id, may_repeat=submission.may_repeat)
        answer = await images_answer(services, job, output)
    except NotReady as error:
        return unknown_outcome(error, job_id, may_repeat=submission.may_repeat)
    headers = {"location": f"/v1/jobs/{job_id}"}
    return JSONResponse(answer.model_dump(exclude_none=True), headers=headers)


def _failed(error: CascadeError, job_id: str, *, may_repeat: bool) -> Response:
    response = error_response(error, job_id=job_id)
    if may_repeat:  # the same key would find this job again
        response.headers["x-should-retry"] = "false"
    return response
