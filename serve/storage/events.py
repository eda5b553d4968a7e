"""The events of jobs in SQL; retention removes old ones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from serve.storage.connections import Connections
from serve.storage.records import EventRow, utc_now
from serve.storage.schema.tables import events

_EVENTS_LOCK = 0x4341_5343_0002


class EventLog:
    """Reads the events of jobs; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of_job(self, job_id: str, after_id: int = 0, limit: int = 500) -> list[EventRow]:
        """Return a job's events after an id, oldest first."""
        found = select(events).where(events.c.job_id == job_id, events.c.id > after_id)
        return self._rows(found.order_by(events.c.id).limit(limit))

    def since(self, after_id: int, limit: int = 1000) -> list[EventRow]:
        """Return the events of all jobs after an id, oldest first."""
        found = select(events).where(events.c.id > after_id)
        return self._rows(found.order_by(events.c.id).limit(limit))

    def last_id(self) -> int:
        """Return the newest event's id, 0 if there is none."""
        with self._connections.reading() as connection:
            return connection.execute(select(func.max(events.c.id))).scalar() or 0

    def _rows(self, query: Any) -> list[EventRow]:
        with self._connections.reading() as connection:
            return [EventRow(**row) for row in connection.execute(query).mappings()]


def append_event(
    connection: Connection, job_id: str, event_type: str, data: dict[str, Any]
) -> None:
    """Append an event to a job's stream."""
    lock_events(connection)
    values = {"job_id": job_id, "type": event_type, "data": data, "at": utc_now()}
    connection.execute(insert(events).values(values))


def lock_events(connection: Connection) -> None:
    """Make event ids visible in their order; holds until the transaction ends.

    PostgreSQL gives out ids before commit, so without this a reader could see id 8 before id 7 and
    never come back for 7. SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _EVENTS_LOCK})
