"""``/v1/status``: how busy the service is, and how well it does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from fastapi import APIRouter

from cascade_core.errors import CascadeError
from serve.gateway.auth.permissions import Reader
from serve.gateway.dependencies import JobsDoor
from serve.gateway.routes.route_parts import Needs, secured
from serve.gateway.routes.service import READY_TIMEOUT_S
from serve.gateway.schemas.bodies import EndedJobs, Status
from serve.storage.records import TERMINAL_STATES

PERIOD = timedelta(hours=1)

router = APIRouter(tags=["service"])


@router.get("/v1/status", responses=secured())
async def get_status(services: Needs, _caller: Reader) -> Status:
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


async def _replicas(jobs_door: JobsDoor) -> dict[str, int] | None:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            return await jobs_door.replicas()
    except (TimeoutError, CascadeError):
        return None
