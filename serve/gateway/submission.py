"""Turns a client's body into an accepted job, and waits for its end on the client's behalf."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from fastapi import Request
from starlette.responses import Response

from cascade_core.errors import Cancelled, CascadeError, NotFound, NotReady, WaitTooLong
from cascade_core.operations.registry import OPERATIONS
from cascade_core.request import GenerationRequest
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.lookups import check_id, check_sees, find_image, not_deleted
from serve.gateway.resolution import given_fields, model_of, resolve_request
from serve.gateway.schemas.jobs import JobBody
from serve.gateway.waiting_clients import AcceptedJob
from serve.responses.errors import error_response
from serve.storage.records import EventRow, JobIdentity, LatentRow, utc_now
from serve.storage.upload_store import UploadRow
from serve.telemetry.log import log_context

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request that is to become a job.

    Attributes:
        caller: sends it.
        body: what to make, for which user and with which state.
        identity: recognises the request when it is sent again.
        is_waiting: the client waits for the end; if it leaves before the job is accepted, the job
            is cancelled.
        is_watched: the client can see previews from the start.
        check: raises if the resolved request is not what the client means; None: no such check.
    """

    caller: Caller
    body: JobBody
    identity: JobIdentity
    is_waiting: bool
    is_watched: bool
    check: Callable[[GenerationRequest], None] | None = None

    @property
    def may_repeat(self) -> bool:
        """Return True if the client may send the request again without making a second job."""
        return bool(self.body.id) or self.identity.key is not None


async def submit(services: Services, submission: Submission) -> AcceptedJob:
    """Submit a request, unless it has become a job before.

    Raises:
        ContentRefused: a checker refused one of its texts, or of its latent's.
        ModerationFailed: a checker gave no answer.
        NotFound: it names a latent that belongs to another caller, or a model that is not there or
            not for this one.
        CascadeError: what `serve.gateway.resolution`, `Submission.check` and `JobsClient.submit`
            raise.
    """
    # This comes first: what the job needed then, such as a latent, may be gone by now.
    if submission.may_repeat:
        earlier_id = await _accepted_before(services, submission)
        if earlier_id is not None:
            return AcceptedJob(earlier_id, is_new=False)
    return await submit_resolved(services, submission, await resolve(services, submission))


async def submit_resolved(
    services: Services, submission: Submission, request: GenerationRequest
) -> AcceptedJob:
    """Submit a request whose values are all decided, as :func:`resolve` returns it.

    Raises:
        CascadeError: what `JobsClient.submit` raises.
    """
    body, identity = submission.body, submission.identity
    owner = submission.caller.owner(body.user)
    try:
        job_id = await services.jobs.submit(
            *(request, body.client_state, owner, identity), is_watched=submission.is_watched
        )
    except (asyncio.CancelledError, Cancelled):
        if submission.is_waiting:
            services.waiting_clients.cancel_abandoned(identity.job_id)
        raise
    except NotReady:
        recorded_id = await _recorded_id(services, submission)
        if recorded_id is None:
            raise
        job_id = recorded_id
    services.event_hub.notify_of_new_job()
    with log_context(job_id=job_id):
        logger.info("accepted job %s", job_id)
    is_new = job_id == identity.job_id
    return AcceptedJob(job_id, is_new, request if is_new else None)


async def resolve(services: Services, submission: Submission) -> GenerationRequest:
    """Return the body's request with every value decided, if the checkers allow it.

    Raises:
        CascadeError: what :func:`submit` raises before the job is submitted.
    """
    caller, body = submission.caller, submission.body
    row = await _source(services, caller.varying_for(body.user), body)
    model = model_of(body.model, row, caller.models(services.models))
    request = resolve_request(body, row, model)
    latent_request = row.request if isinstance(row, LatentRow) else None
    await services.moderator.check_prompt(
        request, caller.owner(body.user), given_fields(body), latent_request
    )
    if submission.check is not None:
        submission.check(request)
    return request


async def _source(
    services: Services, caller: Caller, body: JobBody
) -> LatentRow | UploadRow | None:
    """Return the latent or upload that a body names, if there is one.

    Raises:
        NotFound: it belongs to another caller.
        Gone: it names a picture that was deleted.
    """
    operation = OPERATIONS[body.kind]
    if operation.takes_image and body.image is not None:
        return await _source_of_image(services, caller, body.image)
    named = getattr(body, operation.latent_field)
    if not operation.starts_from_latent or named is None:
        return None
    latent_id = check_id("latent", named)
    row = await services.database.run(services.database.images.latent, latent_id)
    if row is not None:
        await check_sees(services, caller, "latent", row.job_id)
    return row


async def _source_of_image(
    services: Services, caller: Caller, image_id: str
) -> LatentRow | UploadRow | None:
    """Return an upload, which is kept longer as it is used, or a picture's latent."""
    database = services.database
    try:
        upload = await database.run(database.uploads.get, check_id("image", image_id))
        if upload is None or not caller.sees(upload.owner):
            image = not_deleted(await find_image(services, caller, image_id))
            return await database.run(database.images.latent, image.latent_id)
    except NotFound as error:
        raise NotFound("there is no such upload or image", "image") from error
    if upload.deleted_at is None:
        until = utc_now() + timedelta(hours=services.settings.upload_hours)
        await database.run(database.uploads.keep, upload.id, until)
    return upload


async def _recorded_id(services: Services, submission: Submission) -> str | None:
    """Return the id of a job that was recorded although its submission failed; None if it was not.

    Raises:
        NotReady: the database does not answer.
    """
    try:
        return await _accepted_before(services, submission)
    except NotReady:
        # The client is asked to try again. Without a key it would then have two jobs.
        if not submission.may_repeat:
            services.waiting_clients.cancel_abandoned(submission.identity.job_id)
        raise


async def _accepted_before(services: Services, submission: Submission) -> str | None:
    find = services.database.jobs.accepted_before
    return await services.database.run(find, submission.identity)


def unknown_outcome(error: NotReady, job_id: str, *, may_repeat: bool) -> Response:
    """Return the answer for an accepted job whose state cannot be read now.

    A client is asked to try again only if that finds its job; otherwise it would make a second one.
    """
    if may_repeat:
        shown: CascadeError = error
    else:
        message = f"job {job_id} is accepted, but cannot be shown now; see /v1/jobs/{job_id}"
        shown = WaitTooLong(message)
    logger.error("job %s is accepted, but cannot be shown", job_id, exc_info=error)
    response = error_response(shown, job_id=job_id)
    response.headers["location"] = f"/v1/jobs/{job_id}"
    return response


async def wait_until_ended(
    services: Services, http_request: Request, accepted: AcceptedJob, timeout_s: float
) -> EventRow | None:
    """Return the job's last event once it has ended.

    Returns None after ``timeout_s``, or when the client has left. If it leaves, the job may be
    cancelled, see :class:`WaitingClients`. Ray Serve cancels the request of a client that has left:
    every failure here means that the client has left.
    """
    services.waiting_clients.join(accepted)
    end = services.event_hub.wait_until_ended(accepted.job_id, timeout_s)
    waiting = asyncio.create_task(end)
    leaving = asyncio.create_task(_disconnected(http_request))
    last, is_over = None, False
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            last, is_over = await waiting, True
    finally:
        waiting.cancel()
        leaving.cancel()
        services.waiting_clients.leave(accepted, is_answered=is_over)
    return last


async def _disconnected(http_request: Request) -> None:
    """Return when the client has closed the connection; its body must have been read."""
    while (await http_request.receive())["type"] != "http.disconnect":
        pass
