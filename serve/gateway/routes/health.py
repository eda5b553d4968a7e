"""``/healthz``, ``/readyz``, ``/v1/status``: whether the service runs, and how busy it is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from http import HTTPStatus

from fastapi import Request
from starlette.responses import JSONResponse, Response

from cascade_core.errors import CascadeError, NotReady
from cascade_core.job_states import TERMINAL_STATES
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller, Reader
from serve.gateway.dependencies import ServicesDep
from serve.gateway.jobs_client import JobsClient
from serve.gateway.openapi import errors, new_router, secured
from serve.gateway.readiness import READY, READY_TIMEOUT_S
from serve.gateway.schemas.service import EndedJobs, Health, Ready, Status
from serve.responses.errors import error_response

NOT_READY = "not ready"
PERIOD = timedelta(hours=1)

router = new_router("service")


@router.get("/v1/status", responses=secured())
async def get_status(services: ServicesDep, _caller: Reader) -> Status:
    """Return running replicas by deployment, open jobs, and how those of the last hour ended."""
    replicas, counts = await asyncio.gather(
        _replicas(services.jobs), services.database.run(services.database.jobs.count, PERIOD)
    )
    ended = EndedJobs(**{state: counts.get(state, 0) for state in TERMINAL_STATES})
    return Status(
        replicas=replicas,
        queued=counts.get("queued", 0),
        running=counts.get("running", 0),
        last_hour=ended,
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


async def _replicas(jobs: JobsClient) -> dict[str, int] | None:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            return await jobs.replicas()
    except (TimeoutError, CascadeError):
        return None
