"""Errors as HTTP answers, in one form that OpenAI's clients understand.

``{"error": {"code", "message", "type", "param", "field"?, "request_id"}}``; ``param`` is ``field``
under OpenAI's name.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cascade_core.errors import CascadeError, Internal, RateLimited
from serve.responses.unavailable import RETRY_AFTER_S
from serve.telemetry.log import current_context
from serve.validation_messages import describe

logger = logging.getLogger(__name__)

STATUS: dict[str, HTTPStatus] = {
    "invalid_value": HTTPStatus.BAD_REQUEST,
    "wire_invalid": HTTPStatus.BAD_REQUEST,
    "handoff_invalid": HTTPStatus.BAD_REQUEST,
    "moderation_blocked": HTTPStatus.BAD_REQUEST,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "four_eyes": HTTPStatus.FORBIDDEN,
    "cross_origin": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "model_not_found": HTTPStatus.NOT_FOUND,
    "not_acceptable": HTTPStatus.NOT_ACCEPTABLE,
    "conflict": HTTPStatus.CONFLICT,
    "idempotency_mismatch": HTTPStatus.CONFLICT,
    "asset_conflict": HTTPStatus.CONFLICT,
    "asset_protected": HTTPStatus.CONFLICT,
    "asset_damaged": HTTPStatus.CONFLICT,
    "record_newer": HTTPStatus.CONFLICT,
    "cancelled": HTTPStatus.CONFLICT,
    "gone": HTTPStatus.GONE,
    "unsupported_combination": HTTPStatus.UNPROCESSABLE_ENTITY,
    "model_mismatch": HTTPStatus.UNPROCESSABLE_ENTITY,
    "non_finite_latent": HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "settings_invalid": HTTPStatus.INTERNAL_SERVER_ERROR,
    "database_newer": HTTPStatus.INTERNAL_SERVER_ERROR,
    "database_older": HTTPStatus.INTERNAL_SERVER_ERROR,
    "model_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_ready": HTTPStatus.SERVICE_UNAVAILABLE,
    "out_of_memory": HTTPStatus.SERVICE_UNAVAILABLE,
    "moderation_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "provenance_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "stage_lost": HTTPStatus.SERVICE_UNAVAILABLE,
    "cannot_be_served": HTTPStatus.SERVICE_UNAVAILABLE,
    "deadline_exceeded": HTTPStatus.GATEWAY_TIMEOUT,
    "timeout": HTTPStatus.GATEWAY_TIMEOUT,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
}
"""The status of every code of :mod:`cascade_core.errors`."""

TRANSPORT_CODES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "invalid_value",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_TIMEOUT: "body_too_slow",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
}
"""Codes of errors before a route is reached."""

TYPES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
"""OpenAI's names for kinds of errors; the others are ``invalid_request_error`` up to 499 and
``server_error`` from 500 on."""

REPAIR_S = 60
"""Retry-After of errors that an operator has to repair first."""
METHOD_NOT_ALLOWED = "this address does not take this method; see /docs"
_MAX_SHOWN_CHARS = 64
_INVALID = "invalid_request_error"


def install_error_handlers(app: FastAPI) -> None:
    """Register the handlers that turn exceptions into answers."""
    app.add_exception_handler(CascadeError, _on_cascade_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def error_response(error: CascadeError, **extra: Any) -> JSONResponse:
    """Return an error's answer; ``extra`` goes beside ``error`` in the body."""
    status = STATUS[error.code]
    # OpenAI's clients retry by themselves on 409 and from 500 on, unless this header forbids it.
    headers = {"x-should-retry": "true" if error.retryable else "false"}
    if error.retryable or status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(math.ceil(_retry_after_s(error)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    body = error_body(status, error.code, error.message, error.field)
    return JSONResponse(body | extra, status, headers)


def _retry_after_s(error: CascadeError) -> float:
    if isinstance(error, RateLimited):
        return error.retry_after_s
    return RETRY_AFTER_S if error.retryable else REPAIR_S


def error_body(status: int, code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """Return the JSON of an error of the current request."""
    fallback = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _INVALID
    error = {"code": code, "message": message, "type": TYPES.get(status, fallback), "param": field}
    if field:
        error["field"] = field
    return {"error": error | {"request_id": current_context().get("request_id", "")}}


async def _on_cascade_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, CascadeError):
        raise error
    if STATUS[error.code] < HTTPStatus.INTERNAL_SERVER_ERROR:
        return error_response(error)
    logger.error("%s: %s", error.code, error.for_operator, exc_info=error)
    if STATUS[error.code] != HTTPStatus.INTERNAL_SERVER_ERROR:
        return error_response(error)
    return error_response(Internal("something went wrong here; the log has it under this id"))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    field, message = _first_problem(error.errors())
    status = HTTPStatus.BAD_REQUEST
    return JSONResponse(error_body(status, "invalid_value", message, field), status)


async def _on_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = TRANSPORT_CODES.get(error.status_code, "invalid_value")
    message = {
        HTTPStatus.NOT_FOUND: "there is no such address; see /docs",
        HTTPStatus.METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED,
        HTTPStatus.BAD_REQUEST: "the body cannot be read as what its content-type says",
    }.get(HTTPStatus(error.status_code), str(error.detail))
    body = error_body(error.status_code, code, message)
    return JSONResponse(body, error.status_code, error.headers)


def _first_problem(problems: Sequence[dict[str, Any]]) -> tuple[str | None, str]:
    """Return the field and one sentence about the first problem."""
    problem = problems[0]
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "json_invalid":
        return None, f"the body is not valid JSON; the fault is near character {where[-1]}"
    if where == ["body"]:
        return None, "the body must be a JSON object, sent as application/json"
    field = _shown(".".join(where[1:]))
    if problem["type"] == "extra_forbidden":
        return field, f"unknown field {field!r}"
    return field, describe(field, problem)


def _shown(text: str) -> str:
    """Return a client's text shortened, with characters that UTF-8 cannot encode escaped."""
    return json.dumps(text[:_MAX_SHOWN_CHARS])[1:-1]
