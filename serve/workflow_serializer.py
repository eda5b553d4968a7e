"""What DBOS keeps of workflows, as JSON: its tables can hold values and our errors, never code."""

from __future__ import annotations

import json
import logging
from typing import Any, NoReturn

from dbos import Serializer
from dbos._serialization import DefaultSerializer

from cascade_core.errors import CascadeError, Internal, from_dict

logger = logging.getLogger(__name__)


class JsonSerializer(Serializer):
    """Ids, seconds, None and our errors; tuples come back as lists."""

    def name(self) -> str:
        """Return what each row says of how it was written."""
        return "cascade_json"

    def serialize(self, data: Any) -> str:
        """Return a value or an error as JSON; an error that is not ours becomes Internal.

        Raises:
            TypeError, ValueError: JSON has no such value.
        """
        if isinstance(data, Exception):
            unexpected = Internal("the job failed unexpectedly")
            error = data if isinstance(data, CascadeError) else unexpected
            return json.dumps({"error": error.to_dict()})
        return json.dumps({"value": data}, allow_nan=False)

    def deserialize(self, serialized_data: str) -> Any:
        """Return what :meth:`serialize` was given.

        Raises:
            ValueError: it is something else.
        """
        body = json.loads(serialized_data)
        if isinstance(body, dict) and body.keys() == {"value"}:
            return body["value"]
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            return from_dict(body["error"])
        raise ValueError("this record of a workflow was not written by this service")


def refuse_pickles() -> None:
    """Let this process read no pickle from DBOS' tables, as a pickle may run any code.

    A serializer of our own is not enough: each row names the one that it is read with.
    """
    DefaultSerializer.deserialize = _refuse  # type: ignore[method-assign, assignment]


def _refuse(_serializer: DefaultSerializer, _serialized_data: str) -> NoReturn:
    logger.error("a record of a workflow is a pickle; it is not read")
    raise ValueError("a record of a workflow is a pickle, which may run any code")
