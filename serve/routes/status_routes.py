"""``/v1/status``: how busy the service is, and how well it does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from fastapi import APIRouter
from sqlalchemy import func, select

from cascade_core.errors import CascadeError
from serve.access import Reader
from serve.db import Database
from serve.records import OPEN_STATES, TERMINAL_STATES, utc_now
from serve.routes.service_routes import READY_TIMEOUT_S
from serve.routes.shared import Needs, secured
from serve.schemas import EndedJobs, Status
from serve.services import JobsDoor
from serve.tables import jobs

PERIOD = timedelta(hours=1)

router = APIRouter(tags=["service"])


@router.get("/v1/status", responses=secured())
async def get_status(services: Needs, _caller: Reader) -> Status:
    """Return running replicas by deployment, open jobs, and how those of the last hour ended."""
    replicas, counts = await asyncio.gather(
        _replicas(services.jobs), asyncio.to_thread(_counts, services.database)
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


def _counts(database: Database) -> dict[str, int]:
    is_recent = jobs.c.finished_at >= utc_now() - PERIOD
    query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
    with database.reading() as connection:
        found = list(connection.execute(query.where(jobs.c.state.in_(OPEN_STATES))))
        found += connection.execute(query.where(jobs.c.state.in_(TERMINAL_STATES), is_recent))
        return {state: count for state, count in found}
