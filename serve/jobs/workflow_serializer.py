"""What DBOS keeps of workflows, as JSON: its tables can hold values and our errors, never code."""

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
"""What the workflow engine raises for reasons of its own, in our steps and around them."""

logger = logging.getLogger(__name__)


class RecordUnreadable(dbos_error.DBOSException):
    """A record of a workflow was not written by this service."""


class JsonSerializer(Serializer):
    """Arguments of workflows, ids, seconds, None and our errors; tuples come back as lists."""

    def name(self) -> str:
        """Return what each row says of how it was written."""
        return "cascade_json"

    def serialize(self, data: Any) -> str:
        """Return a value or an error as JSON.

        Errors of the engine become NotReady, others that are not ours Internal.

        Raises:
            TypeError, ValueError: JSON has no such value.
        """
        if isinstance(data, Exception):
            return json.dumps({"error": _ours(data).to_dict()})
        return json.dumps({"value": data}, allow_nan=False)

    def deserialize(self, serialized_data: str) -> Any:
        """Return what :meth:`serialize` was given.

        Raises:
            RecordUnreadable: it is something else.
        """
        try:
            body = json.loads(serialized_data)
        except (ValueError, RecursionError) as error:
            raise RecordUnreadable("a record of a workflow is no JSON") from error
        if isinstance(body, dict) and body.keys() == {"value"}:
            return _arguments(body["value"])
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            return from_dict(body["error"])
        raise RecordUnreadable("a record of a workflow holds neither a value nor an error")


def _arguments(value: Any) -> Any:
    """Give the arguments of a workflow back as DBOS takes them, by position in a tuple."""
    if isinstance(value, dict) and value.keys() == {"args", "kwargs"}:
        return {"args": tuple(value["args"]), "kwargs": value["kwargs"]}
    return value


def _ours(error: Exception) -> CascadeError:
    if isinstance(error, CascadeError):
        return error
    if isinstance(error, ENGINE_ERRORS):
        return NotReady("the workflow engine failed")
    return Internal("the job failed unexpectedly")


def refuse_pickles() -> None:
    """Let this process read no pickle from DBOS' tables, as a pickle may run any code.

    A serializer of our own is not enough: each row names the one that it is read with.
    """
    DefaultSerializer.deserialize = _refuse  # type: ignore[method-assign, assignment]


def _refuse(_serializer: DefaultSerializer, _serialized_data: str) -> NoReturn:
    logger.error("a record of a workflow is a pickle; it is not read")
    raise RecordUnreadable("a record of a workflow is a pickle, which may run any code")
