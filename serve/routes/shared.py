"""What all routes share: their collaborators, ids, documented errors."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request

from cascade_core.errors import NotFound
from serve.schemas import ErrorAnswer
from serve.services import Services

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Needs = Annotated[Services, Depends(_services)]
"""A route's parameter of this type is the gateway's collaborators."""


def check_id(what: str, value: str) -> str:
    """Return an id that could be one of ours.

    Raises:
        NotFound: it could not, so there is nothing under it.
    """
    if not _ID.fullmatch(value):
        raise NotFound(f"there is no such {what}")
    return value


def errors(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the errors that a route answers with."""
    entries: dict[int | str, dict[str, Any]] = {
        int(status): {"model": ErrorAnswer, "description": status.phrase} for status in statuses
    }
    return entries | {"default": {"model": ErrorAnswer, "description": "Any other error"}}
