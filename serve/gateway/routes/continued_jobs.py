"""What the client of a job that waits does with it: finish images, or compose them anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from cascade_core.errors import Gone, InvalidRequest, NotReady
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import check_side
from cascade_core.operations.from_latent import check_aspect
from serve.gateway.auth.permissions import Caller, Editor
from serve.gateway.dependencies import IdempotencyKeyHeader, Services, ServicesDep
from serve.gateway.idempotency import make_identity
from serve.gateway.lookups import find_job
from serve.gateway.openapi import new_router, secured
from serve.gateway.resolution import usable_latent
from serve.gateway.schemas.jobs import ContinueBody, JobAnswer, RedoBody
from serve.gateway.submission import unknown_outcome
from serve.served_models import OpenModel
from serve.storage.job_parts.choice import Choice
from serve.storage.records import Job, JobIdentity, utc_now

router = new_router("jobs")

_ANSWERS = secured(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.GONE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


@router.post(
    "/v1/jobs/{job_id}/continue",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobAnswer,
    responses=_ANSWERS,
)
async def continue_job(
    services: ServicesDep,
    caller: Editor,
    job_id: str,
    body: ContinueBody,
    idempotency_key: IdempotencyKeyHeader = "",
) -> Response:
    """Finish chosen images of a job that waits; the others keep their latents.

    A job can be continued once: 409 if it does not wait. With an `Idempotency-Key`, the same
    request again is answered with the job.
    """
    job = await find_job(services, caller, job_id)
    _checked_indices(job, body.indices)
    asked = body.model_dump(mode="json", exclude_none=True)
    identity = _identity(job, asked, idempotency_key)
    if not await _went_on(services, job, identity):
        model = caller.models(services.models).of(job.request)
        choice = _choice(job, body, model.checkpoint.defaults)
        await _check_latents(services, job, model, choice.indices)
        await _check_texts(services, job)
        await services.jobs.continue_job(job.id, job.owner, choice, identity)
    return await _accepted(services, caller, job_id, may_repeat=bool(idempotency_key))


@router.post(
    "/v1/jobs/{job_id}/redo",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobAnswer,
    responses=_ANSWERS,
)
async def redo_job(
    services: ServicesDep,
    caller: Editor,
    job_id: str,
    body: RedoBody,
    idempotency_key: IdempotencyKeyHeader = "",
) -> Response:
    """Compose chosen images of a job that waits anew, with other seeds; then it waits again.

    Image i of n gets the seeds of image i + n. Its earlier composition stays, see `redone` in the
    job. 409 if the job does not wait. With an `Idempotency-Key`, the same request again is answered
    with the job.
    """
    job = await find_job(services, caller, job_id)
    indices = _checked_indices(job, body.indices)
    identity = _identity(job, {"redo": indices}, idempotency_key)
    if not await _went_on(services, job, identity):
        model = caller.models(services.models).of(job.request)
        await _check_latents(services, job, model, indices)
        await _check_upload(services, job)
        await _check_texts(services, job)
        await services.jobs.redo_job(job.id, job.owner, indices, identity)
    return await _accepted(services, caller, job_id, may_repeat=bool(idempotency_key))


def _identity(job: Job, asked: dict[str, Any], key: str) -> JobIdentity:
    identity = make_identity(asked, job.owner, key=key)
    # Without a key of the client's, this recognises the request when the gateway repeats it.
    return replace(identity, key=identity.key or identity.job_id)


async def _went_on(services: Services, job: Job, identity: JobIdentity) -> bool:
    """Return True if the job went on by this very request; False if it waits.

    The process that runs jobs is asked to let a job go on only if it can: it may refuse a request
    for its limits first.

    Raises:
        Conflict, IdempotencyMismatch: as `WaitingStore.accepted_before`.
    """
    find = services.database.waiting.accepted_before
    return await services.database.run(find, job.id, identity)


async def _accepted(
    services: Services, caller: Caller, job_id: str, *, may_repeat: bool
) -> Response:
    """Return the answer for a job that goes on."""
    services.event_hub.notify([job_id])
    try:
        job = await find_job(services, caller, job_id)
    except NotReady as error:
        return unknown_outcome(error, job_id, may_repeat=may_repeat)
    return JSONResponse(job.to_json(), HTTPStatus.ACCEPTED, {"location": f"/v1/jobs/{job_id}"})


def _checked_indices(job: Job, asked: Sequence[int]) -> tuple[int, ...]:
    """Return the indices of images in order.

    Raises:
        InvalidRequest: one is none of the job's or comes twice, or there are none.
    """
    indices, n = tuple(sorted(set(asked))), job.request.n
    if not indices or len(indices) != len(asked) or not 0 <= indices[0] <= indices[-1] < n:
        message = f"indices must be one or more different whole numbers between 0 and {n - 1}"
        raise InvalidRequest(message, "indices")
    return indices


def _choice(job: Job, body: ContinueBody, defaults: ModelDefaults) -> Choice:
    """Return what the body chooses.

    Raises:
        InvalidRequest: an index is none of the job's, or a value is out of range.
        Unsupported: the size has not the aspect of the compositions.
    """
    indices = _checked_indices(job, body.indices)
    choice = Choice(indices, utc_now(), body.model_dump(exclude={"indices"}, exclude_none=True))
    asked, own = choice.applied_to(job.request).to_dict(), job.request.to_dict()
    for name in choice.size:
        check_side(name, asked[name], defaults.max_side)
    check_aspect(asked, own)
    return choice


async def _check_latents(
    services: Services, job: Job, model: OpenModel, indices: Sequence[int]
) -> None:
    """Check that the job's model has made the compositions of the chosen images.

    Raises:
        NotFound, Gone: there is no such latent, or it was deleted.
        ModelMismatch: another model made it.
    """
    for index in indices:
        find, latent_id = services.database.images.latent, job.images[index].latent_id
        usable_latent(await services.database.run(find, latent_id), model, "indices")


async def _check_texts(services: Services, job: Job) -> None:
    """Ask the checkers again: a rule may be newer than the job.

    Raises:
        ContentRefused, ModerationFailed: as `Moderator.check_prompt`.
    """
    row, latent_id = None, job.request.latent_id
    if latent_id is not None:
        row = await services.database.run(services.database.images.latent, latent_id)
    latent_request = None if row is None else row.request
    await services.moderator.check_prompt(job.request, job.owner, latent_request=latent_request)


async def _check_upload(services: Services, job: Job) -> None:
    """Check that the upload that a job starts from, if any, is still there.

    Raises:
        Gone: it was deleted.
    """
    upload_id = job.request.upload_id
    if upload_id is None:
        return
    upload = await services.database.run(services.database.uploads.get, upload_id)
    if upload is None or upload.deleted_at is not None:
        raise Gone("the upload that the job starts from was deleted", "indices")
