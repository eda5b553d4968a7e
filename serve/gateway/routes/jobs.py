"""``/v1/jobs``: create, show, list, change, cancel and follow jobs."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, Query, Request
from starlette.responses import JSONResponse, Response

from cascade_core.errors import InvalidRequest, NotFound, NotReady
from cascade_core.job_states import RESTING_STATES, JobState
from cascade_core.operations.fields import ImageFormat
from serve.gateway.auth.permissions import (
    Creator,
    Editor,
    Reader,
    Viewer,
    check_printable,
    check_user,
)
from serve.gateway.dependencies import HeldOpen, IdempotencyKeyHeader, ServicesDep, hold_open
from serve.gateway.events.sse import job_event_stream, parse_event_id
from serve.gateway.idempotency import make_identity
from serve.gateway.lookups import check_id, check_sees, find_job
from serve.gateway.openapi import event_stream_content, new_router, secured
from serve.gateway.routes.accept_header import picture_format
from serve.gateway.routes.images import ID_HEADERS, IMAGE_CONTENT, OWN_CACHING, picture_of
from serve.gateway.schemas.jobs import JobAnswer, JobBody, JobList, JobPatch
from serve.gateway.submission import Submission, submit, unknown_outcome, wait_until_ended
from serve.storage.blobs.blob_keys import preview_key_from_name
from serve.storage.records import EventRow
from serve.storage.schema.tables import MAX_INBOX_CHARS, MAX_USER_CHARS

MAX_WAIT_S = 120.0
MAX_PAGE = 200

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)
_LOCATION = {"Location": {"description": "The job.", "schema": {"type": "string"}}}
_PICTURE_HEADERS = {
    "X-Image-Id": {"description": "Of a picture: its id.", "schema": {"type": "string"}},
    **ID_HEADERS,
}

router = new_router("jobs")


@router.post(
    "/v1/jobs",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobAnswer,
    responses={
        200: {
            "model": JobAnswer,
            "description": "Ended in time: the job; its picture with an `Accept` of "
            "`image/png`, `image/webp` or `image/jpeg`, if it succeeded and made one image",
            "content": IMAGE_CONTENT,
            "headers": _LOCATION | _PICTURE_HEADERS,
        },
        202: {"description": "Accepted", "headers": _LOCATION},
        **secured(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.NOT_ACCEPTABLE,
            HTTPStatus.CONFLICT,
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.GONE,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
            HTTPStatus.GATEWAY_TIMEOUT,
        ),
    },
)
async def create_job(
    services: ServicesDep,
    caller: Creator,
    http_request: Request,
    body: JobBody,
    prefer: Annotated[
        str, Header(description="`wait=30` answers with the ended job if it ends in time.")
    ] = "",
    idempotency_key: IdempotencyKeyHeader = "",
) -> Response:
    """Accept a job; the answer is 202 at once, or 200 with the ended job (`Prefer: wait=30`).

    A request that waits for one image gets the picture itself if it accepts `image/png`,
    `image/webp` or `image/jpeg` rather than JSON, for example by `Accept: image/png`. Without a
    picture the answer is JSON: 202 if the job goes on, 200 if it failed or was cancelled.

    A job with `stop_after` makes compositions and then waits for its client. A request that waits
    is answered then.

    A client that closes the connection while it waits cancels the job, unless another request with
    the same id or Idempotency-Key waits for it; the key is then free for a new job.
    """
    asked = body.identifying_values()
    identity = make_identity(asked, caller.owner(body.user), body.id, idempotency_key)
    wait_s = _wait_s(prefer)
    is_waiting = wait_s > 0
    image_format = _picture_format(http_request, body) if is_waiting else None
    submission = Submission(
        caller=caller,
        body=body,
        identity=identity,
        is_waiting=is_waiting,
        is_watched=not is_waiting,
    )
    with hold_open(services, http_request) if wait_s else nullcontext():
        accepted = await submit(services, submission)
        job_id = accepted.job_id
        try:
            if wait_s:
                last = await wait_until_ended(services, http_request, accepted, wait_s)
                if last is not None and accepted.is_new and image_format is None:
                    return _ended_job(last, body)
            job = await find_job(services, caller, job_id)
            if image_format is not None and job.state == "succeeded":
                return await picture_of(services, job, image_format)
        except NotReady as error:
            return unknown_outcome(error, job_id, may_repeat=submission.may_repeat)
    status = HTTPStatus.OK if wait_s and job.is_resting else HTTPStatus.ACCEPTED
    return JSONResponse(job.to_json(), status, {"location": f"/v1/jobs/{job_id}"})


@router.get("/v1/jobs", response_model=JobList, responses=secured(HTTPStatus.BAD_REQUEST))
async def list_jobs(
    services: ServicesDep,
    caller: Reader,
    state: JobState | None = None,
    user: Annotated[str | None, Query(max_length=MAX_USER_CHARS)] = None,
    cursor: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    inbox: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_INBOX_CHARS,
            description="Only the caller's own jobs with this `client_state.inbox`.",
        ),
    ] = None,
    own: Annotated[
        bool, Query(description="Only jobs that the caller's key made, for an admin, too.")
    ] = False,
) -> Response:
    """List the caller's jobs, or all jobs for an admin's key; newest first, page by page."""
    check_user(user)
    check_printable("inbox", inbox)
    # A client delivers results where a job's client_state says: only its own key may write there.
    owner = caller.key_id if inbox or own or not caller.is_admin else None
    found, next_cursor = await services.database.run(
        services.database.jobs.page, state, user, cursor, limit, owner, inbox
    )
    return JSONResponse({"jobs": [job.to_json() for job in found], "next_cursor": next_cursor})


@router.get(
    "/v1/jobs/{job_id}",
    response_model=JobAnswer,
    responses=secured(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def get_job(services: ServicesDep, caller: Viewer, job_id: str) -> Response:
    """Return a job as it stands."""
    return JSONResponse((await find_job(services, caller, job_id)).to_json())


@router.patch(
    "/v1/jobs/{job_id}",
    response_model=JobAnswer,
    responses=secured(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def change_job(
    services: ServicesDep, caller: Editor, job_id: str, body: JobPatch | None = None
) -> Response:
    """Replace a job's `client_state` and return the job; 409 if it is not the expected one."""
    job = await find_job(services, caller, job_id)
    if body is not None and "client_state" in body.model_fields_set:
        await services.database.run(
            services.database.jobs.replace_client_state, job_id, body.client_state, body.expected
        )
        # Not read again: if that failed, a second try would find the state changed already.
        job = replace(job, client_state=body.client_state)
    return JSONResponse(job.to_json())


@router.delete(
    "/v1/jobs/{job_id}",
    response_model=JobAnswer,
    responses=secured(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def cancel_job(services: ServicesDep, caller: Editor, job_id: str) -> Response:
    """Cancel a job and return it; a job that had ended stays as it is."""
    await find_job(services, caller, job_id)
    await services.jobs.cancel(job_id)
    return JSONResponse((await find_job(services, caller, job_id)).to_json())


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Server-Sent Events: queued, progress, rejected (a composition that a "
            "checker had made anew), image, then one of waiting, "
            "succeeded, failed and cancelled, after which the stream ends",
            # serve.gateway.schemas.examples has the example: it names a stage of the family.
            "content": event_stream_content("", "queued", "progress", "image", *RESTING_STATES),
        },
        204: {"description": "The client has seen the last event; do not connect again"},
        **secured(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.CONFLICT,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def follow_job(
    services: ServicesDep,
    caller: Viewer,
    job_id: str,
    _held: HeldOpen,
    last_event_id: Annotated[
        str, Header(description="Resume after this event; browsers send it by themselves.")
    ] = "",
) -> Response:
    """Stream a job's events: past ones first, then new ones until its end, or until it waits."""
    after_id = parse_event_id(last_event_id)
    job = await find_job(services, caller, job_id)
    hub = services.event_hub
    if job.is_resting and not await hub.has_events(job_id, after_id):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    if not job.is_resting:
        services.jobs.watch(job_id)
    return job_event_stream(hub, job_id, after_id, services.keep_alive_s)


@router.get(
    "/v1/jobs/{job_id}/previews/{name}",
    response_class=Response,
    responses={
        200: {
            "description": "A small WebP of the picture so far",
            "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
        },
        **secured(HTTPStatus.NOT_FOUND),
    },
)
async def get_preview(services: ServicesDep, caller: Viewer, job_id: str, name: str) -> Response:
    """Return a preview; progress events carry its address."""
    await check_sees(services, caller, "preview", check_id("preview", job_id))
    try:
        data = await services.blobs.get(preview_key_from_name(job_id, name))
    except (InvalidRequest, NotFound) as error:
        raise NotFound("there is no such preview") from error
    return Response(data, media_type="image/webp", headers=OWN_CACHING)


def _wait_s(prefer: str) -> float:
    """Return the seconds that the client wants to wait; 0 if the header names none (RFC 7240)."""
    wait = _WAIT.search(prefer)
    return min(float(wait[1]), MAX_WAIT_S) if wait else 0.0


def _picture_format(http_request: Request, body: JobBody) -> ImageFormat | None:
    """Return the format in which the client wants the picture itself; None: the job as JSON."""
    accept = ",".join(http_request.headers.getlist("accept"))
    n = body.images if body.stop_after is None else 0
    return picture_format(accept, n, body.format or "png")


def _ended_job(last: EventRow, body: JobBody) -> Response:
    """Return the answer with a job that its request made, as the job's last event has it.

    That is the job's JSON without the client's state, which the request brought.
    """
    state = body.client_state
    job = last.data["job"] | ({} if state is None else {"client_state": state})
    return JSONResponse(job, headers={"location": f"/v1/jobs/{last.job_id}"})
