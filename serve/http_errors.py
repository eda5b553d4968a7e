"""Errors as HTTP answers: ``{"error": {"code", "message", "field"?, "request_id"}}``, always."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cascade_core.errors import CascadeError, Internal
from serve.log import current_context

logger = logging.getLogger(__name__)

STATUS: dict[str, HTTPStatus] = {
    "invalid_value": HTTPStatus.BAD_REQUEST,
    "wire_invalid": HTTPStatus.BAD_REQUEST,
    "handoff_invalid": HTTPStatus.BAD_REQUEST,
    "not_found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "cancelled": HTTPStatus.CONFLICT,
    "gone": HTTPStatus.GONE,
    "unsupported_combination": HTTPStatus.UNPROCESSABLE_ENTITY,
    "model_mismatch": HTTPStatus.UNPROCESSABLE_ENTITY,
    "non_finite_latent": HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "settings_invalid": HTTPStatus.INTERNAL_SERVER_ERROR,
    "database_newer": HTTPStatus.INTERNAL_SERVER_ERROR,
    "model_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_ready": HTTPStatus.SERVICE_UNAVAILABLE,
    "out_of_memory": HTTPStatus.SERVICE_UNAVAILABLE,
    "stage_lost": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Every code of :mod:`cascade_core.errors`."""

TRANSPORT_CODES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "invalid_value",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
}
"""Codes of what goes wrong before a route is reached."""

RETRY_AFTER_S = 5
_MAX_SHOWN_CHARS = 64


def install(app: FastAPI) -> None:
    """Give the application its error handlers."""
    app.add_exception_handler(CascadeError, _on_cascade_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def error_response(error: CascadeError, **extra: Any) -> JSONResponse:
    """Return an error's answer; ``extra`` goes beside ``error`` in the body."""
    status = STATUS[error.code]
    headers = {"retry-after": str(RETRY_AFTER_S)} if error.retryable else {}
    body = error_body(error.code, error.message, error.field)
    return JSONResponse(body | extra, status, headers)


def error_body(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """Return the JSON of an error in the request at hand."""
    named = {"field": field} if field else {}
    request_id = current_context().get("request_id", "")
    return {"error": {"code": code, "message": message, **named, "request_id": request_id}}


async def _on_cascade_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, CascadeError):
        raise error
    if STATUS[error.code] < HTTPStatus.INTERNAL_SERVER_ERROR:
        return error_response(error)
    logger.error("%s: %s", error.code, error.message, exc_info=error)
    if error.retryable or error.code == "model_unavailable":
        return error_response(error)
    return error_response(Internal("something went wrong here; the log has it under this id"))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    field, message = _first_problem(error.errors())
    return JSONResponse(error_body("invalid_value", message, field), HTTPStatus.BAD_REQUEST)


async def _on_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = TRANSPORT_CODES.get(error.status_code, "invalid_value")
    message = {
        HTTPStatus.NOT_FOUND: "there is no such address; see /docs",
        HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take this method; see /docs",
        HTTPStatus.BAD_REQUEST: "the body cannot be read as JSON",
    }.get(HTTPStatus(error.status_code), str(error.detail))
    return JSONResponse(error_body(code, message), error.status_code, error.headers)


def _first_problem(problems: Sequence[dict[str, Any]]) -> tuple[str | None, str]:
    """Return the field and one sentence about the first problem."""
    problem = problems[0]
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "json_invalid":
        return None, f"the body is not valid JSON: {problem['ctx']['error']}"
    if where == ["body"]:
        return None, "the body must be a JSON object, sent as application/json"
    field = _shown(".".join(where[1:]))
    if problem["type"] == "extra_forbidden":
        return field, f"unknown field {field!r}"
    if problem["type"] == "missing":
        return field, f"{field} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] == "value_error":
        return field, f"{field} {message}"
    return field, f"{field} must be {message}"


def _shown(text: str) -> str:
    """Return a client's own text short and without anything that UTF-8 cannot hold."""
    return json.dumps(text[:_MAX_SHOWN_CHARS])[1:-1]
