"""``/v1/events``: follow all jobs of a caller."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Header
from starlette.responses import Response

from cascade_core.job_states import RESTING_STATES
from serve.gateway.auth.permissions import Viewer
from serve.gateway.dependencies import HeldOpen, ServicesDep
from serve.gateway.events.caller_events import caller_event_stream, find_beginning
from serve.gateway.events.sse import parse_event_id
from serve.gateway.openapi import event_stream_content, new_router, secured

_TYPES = ("job", "live", "queued", "progress", "rejected", "image", *RESTING_STATES)

router = new_router("jobs")


@router.get(
    "/v1/events",
    response_class=Response,
    responses={
        200: {
            "description": "Server-Sent Events: a `job` for each job that has not ended, as it "
            "stands; `live`; then the events of all jobs, also of those that begin later. "
            "The stream does not end by itself.",
            # serve.gateway.schemas.examples has the example: it names a stage of the family.
            "content": event_stream_content("", *_TYPES),
        },
        **secured(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
    },
)
async def follow_jobs(
    services: ServicesDep,
    caller: Viewer,
    _held: HeldOpen,
    last_event_id: Annotated[
        str,
        Header(description="Also show jobs that ended since; browsers send it by themselves."),
    ] = "",
) -> Response:
    """Stream the events of the caller's jobs, or of all jobs for an admin's key, endlessly."""
    after_id = parse_event_id(last_event_id) if last_event_id else None
    beginning = await find_beginning(services.database, after_id)
    return caller_event_stream(services, caller.viewpoint, beginning)
