"""Checks what a command asks for against what the model can do, before a job is submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade_core.families.operation_info import OperationInfo
from serve.cli.output import CliError


def check_offered(operations: Sequence[OperationInfo], body: Mapping[str, object]) -> None:
    """Check that a model can do the body's kind of job, and knows the words in it.

    Args:
        operations: of the model; empty if an older service does not say what it can do.
        body: of the job.

    Raises:
        CliError: it cannot; names what it can do.
    """
    if not operations:
        return
    found = next((info for info in operations if info.name == body["kind"]), None)
    if found is None:
        offered = ", ".join(info.name for info in operations)
        raise CliError(f"this model cannot do {body['kind']}; it can do {offered}")
    for field in found.fields:
        value = body.get(field.name)
        if isinstance(value, str) and field.words and value not in field.words:
            words = ", ".join(f"{word} ({number:g})" for word, number in field.words.items())
            raise CliError(f"{field.name} must be a number or one of {words}, got {value}")
