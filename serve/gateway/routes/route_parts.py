"""What all routes share: their collaborators, ids, owners, documented errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from cascade_core.errors import NotFound
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller
from serve.gateway.dependencies import Services
from serve.gateway.schemas.bodies import ErrorAnswer
from serve.gateway.stream_limiter import HeldRequests
from serve.storage.records import JobOwner

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Needs = Annotated[Services, Depends(_services)]
"""A route's parameter of this type is the gateway's collaborators."""


IdempotencyKey = Annotated[
    str, Header(description="The same key and body give the same job, another body a 409.")
]


async def _held(request: Request) -> AsyncIterator[None]:
    with hold_open(request):
        yield


HeldOpen = Annotated[None, Depends(_held)]
"""A route's parameter of this type: it counts as held open until its answer is sent."""


def hold_open(request: Request) -> AbstractContextManager[None]:
    """Count a request as held open while the block runs; raises as `HeldRequests.hold`."""
    held: HeldRequests = request.app.state.held
    caller: Caller = request.scope[SCOPE_ENTRY]
    return held.hold(caller.key_id)


def check_id(what: str, value: str) -> str:
    """Return an id that could be one of ours.

    Raises:
        NotFound: it could not, so there is nothing under it.
    """
    if not _ID.fullmatch(value):
        raise NotFound(f"there is no such {what}")
    return value


def check_model(services: Services, model_id: str | None) -> None:
    """Check that the model a client names, if any, is the one that is loaded.

    Raises:
        NotFound: it is not; names the one that is.
    """
    loaded = services.checkpoint.id
    if model_id is not None and model_id not in services.settings.model_names(loaded):
        message = f"there is no such model; the one that is loaded here is {loaded!r}"
        raise NotFound(message, "model")


async def check_sees(services: Services, caller: Caller, what: str, job_id: str) -> None:
    """Check that something a job made is there for the caller.

    Raises:
        NotFound: it belongs to somebody else; the same answer as for what does not exist.
    """
    owner = await services.database.run(services.database.jobs.owner_of, job_id)
    if not caller.sees(owner or JobOwner(None, None)):
        raise NotFound(f"there is no such {what}")


def event_stream(example: str, *types: str) -> dict[str, Any]:
    """Return the OpenAPI content of Server-Sent Events of these types; the schema is of one."""
    schema = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": list(types)},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string"},
        },
    }
    return {"text/event-stream": {"schema": schema, "example": example}}


def errors(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the errors that a route answers with."""
    entries: dict[int | str, dict[str, Any]] = {
        int(status): {"model": ErrorAnswer, "description": status.phrase} for status in statuses
    }
    return entries | {"default": {"model": ErrorAnswer, "description": "Any other error"}}


def secured(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route that needs an API key."""
    by_key = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
    return errors(*statuses, *by_key)
