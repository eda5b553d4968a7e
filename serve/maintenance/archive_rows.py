"""Converts rows of tables to rows of an archive and back, independently of the schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Integer, RowMapping, Table

from cascade_core.families.stage_info import LATENT_USE_KEY, cost_key, stage_of_cost
from serve.maintenance.archive import MAX_ENTRY_BYTES
from serve.storage.job_parts.choice import Choice
from serve.storage.schema.tables import UtcDateTime, images, jobs

_NOT_ARCHIVED = {
    *("idempotency_key", "body_digest", "crashes", "context", "inbox"),
    *("route", "source_latent_id", "upload_id", "model"),
}
"""Columns that only matter to the service that ran the job (identity of the request, crashes of
replicas, ids of log and trace, the client that awaits the outcome), and those that the request
tells: the model, the stages of the images, and the latent or upload that they start from."""
_ADDED = {"choice": None, "preview": None, "redos": None, "redo_count": 0, "rejections": None}
"""Columns that archives of earlier releases do not have, with their values there: what was
continued of a draft and what composed anew, and the previews of its compositions."""
_ADDRESS = "address"
"""Part of the client state that is not archived: the chat that gets the outcome, with a token."""
_MOST_SECONDS = 1e9
_MOST_STAGES = 16


def to_archive(row: RowMapping) -> dict[str, Any]:
    """Return a row of a table as a JSON-able row of an archive, with the columns of format 1."""
    plain: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }
    if "latent_use" in plain:
        plain[LATENT_USE_KEY] = plain.pop("latent_use")
    if "choice" in plain:
        plain["choice"] = _archived_choice(plain["choice"])
        plain["redos"] = _archived_redos(plain["redos"])
    if "cost" in plain:
        plain |= {cost_key(stage): cost_s for stage, cost_s in plain.pop("cost").items()}
    return _archived_columns(plain)


def from_archive(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a table that :func:`to_archive` has converted, and check its values.

    Raises:
        KeyError, TypeError, ValueError: a column is missing or unknown, or its value does not fit.
    """
    return {
        name: _value(table.c[name], value)
        for name, value in _archived_columns(_with_own_columns(table, row)).items()
    }


def _with_own_columns(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in _ADDED.items() if name in table.c} | row
    if table is images:
        row["latent_use"] = row.pop(LATENT_USE_KEY)
    if table is jobs:
        row["choice"] = _archived_choice(row["choice"])
        row["redos"] = _archived_redos(row["redos"])
        # Not only the stages of the served family: another one may have made an archived job.
        stages = {key: stage_of_cost(key) for key in row if key not in table.c}
        row["cost"] = {stage: _seconds(row.pop(key)) for key, stage in stages.items() if stage}
        if not 1 <= len(row["cost"]) <= _MOST_STAGES:
            raise ValueError("cost")
    return row


def _archived_choice(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what was continued of a draft without the identity of the request to continue."""
    return None if stored is None else Choice.from_stored(stored).to_stored()


def _archived_redos(stored: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Return what was composed anew without the identities of the requests for it."""
    if stored is None:
        return None
    return [{"at": redo["at"], "replaced": redo["replaced"]} for redo in stored]


def _archived_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the columns and values that are not archived."""
    kept = {name: value for name, value in row.items() if name not in _NOT_ARCHIVED}
    state = kept.get("client_state")
    if isinstance(state, dict):
        kept["client_state"] = {name: state[name] for name in state if name != _ADDRESS}
    return kept


def _value(column: Column[Any], value: Any) -> Any:
    if value is None and column.nullable:
        return None
    if isinstance(column.type, JSON):
        return value
    if isinstance(column.type, UtcDateTime):
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    wanted = column.type.python_type
    is_number = wanted is float and type(value) is int
    if type(value) is not wanted and not is_number:
        raise TypeError(column.name)
    if isinstance(value, str):
        fits = len(value) <= _longest(column) and "\0" not in value  # PostgreSQL refuses NUL
    elif wanted is float:
        fits = value == _seconds(value)
    else:
        fits = -_bound(column) <= value < _bound(column)
    if not fits:
        raise ValueError(column.name)
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    if not 0 <= value <= _MOST_SECONDS:
        raise ValueError
    return float(value)


def _bound(column: Column[Any]) -> int:
    """Return the first whole number that a column cannot hold."""
    is_big = isinstance(column.type, BigInteger)
    return 2**63 if is_big or not isinstance(column.type, Integer) else 2**31


def _longest(column: Column[Any]) -> int:
    return getattr(column.type, "length", None) or MAX_ENTRY_BYTES
