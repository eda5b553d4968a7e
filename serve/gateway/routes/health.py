"""``/healthz``, ``/readyz``, ``/v1/status``: whether the service runs, and how busy it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus

from fastapi import Request
from starlette.responses import JSONResponse, Response

from cascade_core.errors import CascadeError, NotReady
from cascade_core.families.stage_info import StageInfo
from cascade_core.job_states import TERMINAL_STATES
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller, Reader
from serve.gateway.dependencies import ServicesDep
from serve.gateway.jobs_client import JobsClient, ReplicaCount
from serve.gateway.openapi import errors, new_router, secured
from serve.gateway.readiness import READY, READY_TIMEOUT_S
from serve.gateway.schemas.service import EndedJobs, Health, Ready, StageStatus, Status
from serve.responses.errors import error_response
from serve.served_models import OpenModel
from serve.storage.job_queue.activity import Activity, StageWork

NOT_READY = "not ready"
PERIOD = timedelta(hours=1)

router = new_router("service")


@router.get("/v1/status", responses=secured())
async def get_status(services: ServicesDep, caller: Reader) -> Status:
    """Return replicas, open jobs, the speed of each stage, and how jobs of the last hour ended."""
    database = services.database
    replicas, counts, activity = await asyncio.gather(
        _replicas(services.jobs),
        database.run(database.jobs.count, PERIOD),
        database.run(database.activity.within, PERIOD),
    )
    running = {name: count.running for name, count in (replicas or {}).items()}
    return Status(
        replicas=None if replicas is None else running,
        queued=counts.get("queued", 0),
        running=counts.get("running", 0),
        last_hour=EndedJobs(**{state: counts.get(state, 0) for state in TERMINAL_STATES}),
        stages=[
            _stage_status(model, stage, replicas, activity)
            for model in caller.models(services.models)
            for stage in model.stages
        ],
        errors=dict(activity.errors),
        checks=await services.readiness.checks() if caller.is_admin else None,
    )


@router.get("/healthz", responses=errors())
async def healthz() -> Health:
    """Return 200 if this process answers."""
    return Health()


@router.get("/readyz", response_model=Ready, responses=errors(HTTPStatus.SERVICE_UNAVAILABLE))
async def readyz(services: ServicesDep, request: Request) -> Response:
    """Return 200 if a job would run now; 503 names what is missing, for admins with the reasons."""
    checks = await services.readiness.checks()
    caller: Caller | None = request.scope.get(SCOPE_ENTRY)
    if caller is None or not caller.is_admin:
        # A reason may name hosts, paths and versions.
        checks = {name: READY if state == READY else NOT_READY for name, state in checks.items()}
    missing = [f"{name}: {state}" for name, state in checks.items() if state != READY]
    if missing:
        return error_response(NotReady("; ".join(missing)), checks=checks)
    return JSONResponse({"status": READY, "checks": checks})


def _stage_status(
    model: OpenModel,
    stage: StageInfo,
    replicas: Mapping[str, ReplicaCount] | None,
    activity: Activity,
) -> StageStatus:
    count = None if replicas is None else replicas.get(stage.deployment, ReplicaCount(0))
    work = activity.work.get((model.id, stage.name), StageWork())
    return StageStatus(
        model=model.id,
        name=stage.name,
        title=stage.title,
        deployment=stage.deployment,
        replicas=None if count is None else count.running,
        starting=None if count is None else count.starting,
        jobs=activity.jobs.get((model.id, stage.name), 0),
        images=work.images,
        seconds_per_image=work.seconds_per_image,
    )


async def _replicas(jobs: JobsClient) -> dict[str, ReplicaCount] | None:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            return await jobs.replicas()
    except (TimeoutError, CascadeError):
        return None
