"""Serializes workflow records for DBOS as JSON: values and errors of the service, never code."""

from __future__ import annotations

import json
import logging
from typing import Any, NoReturn

from dbos import Serializer
from dbos import error as dbos_error
from dbos._serialization import DefaultSerializer

from cascade_core.errors import CascadeError, Internal, NotReady, from_dict
from serve.storage.connections import CONNECTION_ERRORS

ENGINE_ERRORS = (dbos_error.DBOSException, *CONNECTION_ERRORS)
"""Errors that the workflow engine itself raises, in the steps of a workflow and around them."""

logger = logging.getLogger(__name__)


class RecordUnreadable(dbos_error.DBOSException):
    """A workflow record was not written by this service."""


class JsonSerializer(Serializer):
    """Serializes JSON values and errors of the service; tuples come back as lists."""

    def name(self) -> str:
        """Return the name that DBOS stores in each row to select its serializer."""
        return "cascade_json"

    def serialize(self, data: Any) -> str:
        """Return a value or an error as JSON.

        An error of the engine becomes NotReady; an error of another library becomes Internal.

        Raises:
            TypeError, ValueError: the value cannot be written as JSON.
        """
        if isinstance(data, Exception):
            return json.dumps({"error": _as_cascade_error(data).to_dict()})
        return json.dumps({"value": data}, allow_nan=False)

    def deserialize(self, serialized_data: str) -> Any:
        """Return the value or the error that :meth:`serialize` wrote.

        Raises:
            RecordUnreadable: the text has another form.
        """
        try:
            body = json.loads(serialized_data)
        except (ValueError, RecursionError) as error:
            raise RecordUnreadable("a workflow record is not JSON") from error
        if isinstance(body, dict) and body.keys() == {"value"}:
            return _arguments(body["value"])
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            return from_dict(body["error"])
        raise RecordUnreadable("a workflow record holds neither a value nor an error")


def _arguments(value: Any) -> Any:
    """Return a workflow's arguments in the form that DBOS expects: positional ones in a tuple."""
    if isinstance(value, dict) and value.keys() == {"args", "kwargs"}:
        return {"args": tuple(value["args"]), "kwargs": value["kwargs"]}
    return value


def _as_cascade_error(error: Exception) -> CascadeError:
    if isinstance(error, CascadeError):
        return error
    if isinstance(error, ENGINE_ERRORS):
        return NotReady("the workflow engine failed")
    return Internal("the job failed unexpectedly")


def refuse_pickles() -> None:
    """Make this process reject pickles in DBOS' tables, because a pickle can run any code.

    Setting :class:`JsonSerializer` is not enough: each row names the serializer that reads it.
    """
    DefaultSerializer.deserialize = _refuse  # type: ignore[method-assign, assignment]


def _refuse(_serializer: DefaultSerializer, _serialized_data: str) -> NoReturn:
    logger.error("a workflow record is a pickle; it is not read")
    raise RecordUnreadable("a workflow record is a pickle, which can run any code")
