"""``/v1/jobs/{job_id}/continue``: finishes images of a job that waits for its client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from cascade_core.errors import InvalidRequest, NotReady
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import check_side
from cascade_core.operations.from_latent import check_aspect
from serve.gateway.auth.permissions import Editor
from serve.gateway.dependencies import IdempotencyKeyHeader, Services, ServicesDep
from serve.gateway.idempotency import make_identity
from serve.gateway.lookups import find_job
from serve.gateway.openapi import new_router, secured
from serve.gateway.resolution import usable_latent
from serve.gateway.schemas.jobs import ContinueBody, JobAnswer
from serve.gateway.submission import unknown_outcome
from serve.storage.job_queue.choice import Choice
from serve.storage.records import Job, utc_now

router = new_router("jobs")


@router.post(
    "/v1/jobs/{job_id}/continue",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobAnswer,
    responses=secured(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.GONE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    ),
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
    choice = _choice(job, body, services.checkpoint.defaults)
    asked = body.model_dump(mode="json", exclude_none=True)
    identity = make_identity(asked, job.owner, key=idempotency_key)
    if identity.key is None:  # recognises this request when the gateway itself repeats it
        identity = replace(identity, key=identity.job_id)
    if job.state == "waiting":
        await _check_latents(services, job, choice.indices)
    await services.jobs.continue_job(job.id, job.owner, choice, identity)
    try:
        job = await find_job(services, caller, job_id)
    except NotReady as error:
        return unknown_outcome(error, job_id, may_repeat=bool(idempotency_key))
    return JSONResponse(job.to_json(), HTTPStatus.ACCEPTED, {"location": f"/v1/jobs/{job_id}"})


def _choice(job: Job, body: ContinueBody, defaults: ModelDefaults) -> Choice:
    """Return what the body chooses.

    Raises:
        InvalidRequest: an index is none of the job's, or a value is out of range.
        Unsupported: the size has not the aspect of the compositions.
    """
    indices, n = tuple(sorted(set(body.indices))), job.request.n
    if not indices or len(indices) != len(body.indices) or not 0 <= indices[0] <= indices[-1] < n:
        message = f"indices must be one or more different whole numbers between 0 and {n - 1}"
        raise InvalidRequest(message, "indices")
    choice = Choice(indices, utc_now(), body.model_dump(exclude={"indices"}, exclude_none=True))
    asked, own = choice.applied_to(job.request).to_dict(), job.request.to_dict()
    for name in choice.size:
        check_side(name, asked[name], defaults.max_side)
    check_aspect(asked, own)
    return choice


async def _check_latents(services: Services, job: Job, indices: Sequence[int]) -> None:
    """Check that the loaded model can finish the chosen images.

    Raises:
        NotFound, Gone: there is no such latent, or it was deleted.
        ModelMismatch: another model made it.
    """
    for index in indices:
        find, latent_id = services.database.images.latent, job.images[index].latent_id
        usable_latent(await services.database.run(find, latent_id), services.checkpoint, "indices")
