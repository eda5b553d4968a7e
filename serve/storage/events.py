"""The events of jobs in SQL; retention removes old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Connection,
    String,
    TableValuedAlias,
    func,
    insert,
    literal,
    select,
)

from serve.storage.connections import Connections
from serve.storage.records import EventRow, utc_now
from serve.storage.schema.tables import events


class EventLog:
    """Reads the events of jobs; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of_job(self, job_id: str, after_id: int = 0, limit: int = 500) -> list[EventRow]:
        """Return a job's events after an id, oldest first."""
        return self.of_jobs({job_id: after_id}, limit)

    def of_jobs(self, after_ids: Mapping[str, int], limit: int) -> list[EventRow]:
        """Return the events of several jobs, each after an id of its own, oldest first.

        Args:
            after_ids: the ids, by job.
            limit: most events.
        """
        with self._connections.reading() as connection:
            after = _as_table(connection, after_ids)
            is_new = (events.c.job_id == after.c.key) & (events.c.id > after.c.value)
            found = select(events).join(after, is_new).order_by(events.c.id).limit(limit)
            return [EventRow(**row) for row in connection.execute(found).mappings()]

    def last_id(self) -> int:
        """Return the id of the last event of all jobs; 0 if there is none.

        Events of other jobs that have lower ids may become visible later.
        """
        with self._connections.reading() as connection:
            last_id: int | None = connection.execute(select(func.max(events.c.id))).scalar()
        return last_id or 0

    def time_of(self, event_id: int) -> datetime | None:
        """Return when an event happened; if it is not kept, when the last one before it did.

        None: there is none.
        """
        until = select(events.c.at).where(events.c.id <= event_id)
        with self._connections.reading() as connection:
            last = connection.execute(until.order_by(events.c.id.desc()).limit(1))
            at: datetime | None = last.scalar()
        return at


def append_event(
    connection: Connection, job_id: str, event_type: str, data: dict[str, Any]
) -> None:
    """Append an event to a job's stream, as :func:`append_events` does."""
    append_events(connection, event_type, [(job_id, data)])


def append_events(
    connection: Connection, event_type: str, data_by_job: Sequence[tuple[str, dict[str, Any]]]
) -> None:
    """Append events of one type to the streams of jobs, in this order.

    The transaction must have inserted, changed or locked the jobs' rows before. Then the row's lock
    lets one transaction append at a time, and ids become visible in order: a reader of the job that
    has seen id 8 has seen id 7. Transactions of different jobs do not wait for each other.

    `Connections.on_events` is called with them after the commit, unless a job is new: gateways
    look for new jobs themselves.

    Args:
        connection: of the transaction.
        event_type: of all of them.
        data_by_job: the job's id and the data of each event; at least one.
    """
    shared = {"type": event_type, "at": utc_now()}
    rows = [shared | {"job_id": job_id, "data": data} for job_id, data in data_by_job]
    connection.execute(insert(events), rows)
    if event_type != "queued":
        appended = {(job_id, event_type) for job_id, _ in data_by_job}
        connection.get_execution_options()["appended_events"].update(appended)


def _as_table(connection: Connection, after_ids: Mapping[str, int]) -> TableValuedAlias:
    """Return a table ``key, value``; the text of a statement is the same for any number of rows."""
    if connection.dialect.name == "postgresql":
        job_ids = literal(list(after_ids), ARRAY(String))
        ids = literal(list(after_ids.values()), ARRAY(BigInteger))
        # Not JSON: the planner reads the length of an array, and takes the index for few jobs.
        return func.unnest(job_ids, ids).table_valued("key", "value").render_derived()
    return func.json_each(literal(dict(after_ids), JSON)).table_valued("key", "value")
