"""The events of jobs, in SQL: `serve.storage.database` writes them, retention removes old ones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from serve.storage.database import Database
from serve.storage.records import EventRow
from serve.storage.schema.tables import events


class EventLog:
    """Reads the events of jobs; every method is one transaction and blocks."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of_job(self, job_id: str, after_id: int = 0, limit: int = 500) -> list[EventRow]:
        """Return a job's events after an id, oldest first."""
        found = select(events).where(events.c.job_id == job_id, events.c.id > after_id)
        return self._rows(found.order_by(events.c.id).limit(limit))

    def since(self, after_id: int, limit: int = 1000) -> list[EventRow]:
        """Return all jobs' events after an id, oldest first."""
        found = select(events).where(events.c.id > after_id)
        return self._rows(found.order_by(events.c.id).limit(limit))

    def last_id(self) -> int:
        """Return the newest event's id, 0 if there is none."""
        with self.database.reading() as connection:
            return connection.execute(select(func.max(events.c.id))).scalar() or 0

    def _rows(self, query: Any) -> list[EventRow]:
        with self.database.reading() as connection:
            return [EventRow(**row) for row in connection.execute(query).mappings()]
