"""What the routes that make jobs share: from a body to a request, and the wait for a job's end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request
from starlette.responses import Response

from cascade_core.errors import Cancelled, CascadeError, NotFound, NotReady, WaitTooLong
from cascade_core.operations.registry import OPERATIONS
from cascade_core.request import GenerationRequest
from serve.gateway.abandoned_jobs import forsake
from serve.gateway.auth.permissions import Caller
from serve.gateway.dependencies import Services
from serve.gateway.resolution import resolve_request
from serve.gateway.routes.route_parts import check_id, check_sees
from serve.gateway.schemas.bodies import JobBody
from serve.gateway.waiting_clients import Accepted
from serve.responses.errors import error_response
from serve.storage.records import Claim, Job
from serve.telemetry.log import log_context

logger = logging.getLogger(__name__)


async def resolve(services: Services, caller: Caller, body: JobBody) -> GenerationRequest:
    """Return the body's request with every value decided, if the checkers let it pass.

    Somebody else's latent is not found.

    Raises:
        ContentRefused: a checker refused one of its texts, or of its latent's.
        ModerationFailed: a checker gave no answer.
        CascadeError: what `serve.gateway.resolution` raises.
    """
    request = await _resolved(services, caller, body)
    await services.moderator.check_prompt(request, caller.owner(body.user))
    return request


async def _resolved(services: Services, caller: Caller, body: JobBody) -> GenerationRequest:
    row = None
    if OPERATIONS[body.kind].starts_from_latent and body.latent_id is not None:
        latent_id = check_id("latent", body.latent_id)
        row = await services.database.run(services.database.images.latent, latent_id)
        if row is not None:
            await check_sees(services, caller.varying_for(body.user), "latent", row.job_id)
    return resolve_request(body, row, services.checkpoint)


async def find_job(services: Services, caller: Caller, job_id: str) -> Job:
    """Return a job as it stands.

    Raises:
        NotFound: there is none under this id, or it is somebody else's.
    """
    job = await services.database.run(services.database.jobs.get, check_id("job", job_id))
    if job is None or not caller.sees(job.owner):
        raise NotFound("there is no such job")
    return job


async def accept(
    services: Services,
    caller: Caller,
    body: JobBody,
    claim: Claim,
    prepare: Callable[[], Awaitable[GenerationRequest]],
    *,
    may_repeat: bool,
    is_waiting: bool,
) -> Accepted:
    """Submit what a client asks for, unless it has become a job before.

    Args:
        services: who does it.
        caller: for whom.
        body: what to make, for which user and with which state.
        claim: by which the request is recognised when it comes again.
        prepare: decides every value of the request; only called for a new one.
        may_repeat: it has an id or key that it may have come with before.
        is_waiting: the client waits; if it leaves before the job is accepted, the job is cancelled.
    """
    # First of all: what this request needed then, a latent say, may be gone by now.
    if may_repeat:
        earlier_id = await services.database.run(services.database.jobs.accepted_before, claim)
        if earlier_id is not None:
            return Accepted(earlier_id, is_new=False)
    request = await prepare()
    owner = caller.owner(body.user)
    try:
        job_id = await services.jobs.submit(request, body.client_state, owner, claim)
    except (asyncio.CancelledError, Cancelled):
        if is_waiting:
            forsake(services, claim.job_id)
        raise
    except NotReady:
        recorded_id = await _recorded_id(services, claim, may_repeat=may_repeat)
        if recorded_id is None:
            raise
        job_id = recorded_id
    with log_context(job_id=job_id):
        logger.info("accepted job %s", job_id)
    is_new = job_id == claim.job_id
    return Accepted(job_id, is_new, request if is_new else None)


async def _recorded_id(services: Services, claim: Claim, *, may_repeat: bool) -> str | None:
    """Return the id of a job that was recorded although its submission failed; None if it was not.

    Raises:
        NotReady: the database does not answer.
    """
    try:
        return await services.database.run(services.database.jobs.accepted_before, claim)
    except NotReady:
        # The client is asked to try again. Without a key it would then have two jobs.
        if not may_repeat:
            forsake(services, claim.job_id)
        raise


def unknown_outcome(error: NotReady, job_id: str, *, may_repeat: bool) -> Response:
    """Return the answer for an accepted job of which the service cannot tell more now.

    A client is only asked to try again if that finds its job; else it would make a second one.
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


async def wait_for_client(
    services: Services, http_request: Request, accepted: Accepted, end: Coroutine[Any, Any, None]
) -> None:
    """Await ``end`` on behalf of a client; if the client leaves first, the job may end with that.

    Ray Serve cancels the request of a client that left, and each call that the request has made,
    which fails then: so whatever happens but the end itself means that the client has left.
    """
    services.waiters.join(accepted)
    waiting = asyncio.create_task(end)
    leaving = asyncio.create_task(_disconnected(http_request))
    is_over = False
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            await waiting
            is_over = True
    finally:
        waiting.cancel()
        leaving.cancel()
        if services.waiters.leave(accepted, is_answered=is_over):
            forsake(services, accepted.job_id)


async def _disconnected(http_request: Request) -> None:
    """Return when the client has closed the connection; its body must have been read."""
    while (await http_request.receive())["type"] != "http.disconnect":
        pass
