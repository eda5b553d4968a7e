"""How many jobs there are, by state."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from serve.storage.database import Database
from serve.storage.records import OPEN_STATES, TERMINAL_STATES, utc_now
from serve.storage.schema.tables import jobs


def count_jobs(database: Database, ended_within: timedelta | None = None) -> dict[str, int]:
    """Return the number of open jobs by state, and of those that ended within a time if given."""
    query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
    with database.reading() as connection:
        found = list(connection.execute(query.where(jobs.c.state.in_(OPEN_STATES))))
        if ended_within is not None:
            is_recent = jobs.c.finished_at >= utc_now() - ended_within
            found += connection.execute(query.where(jobs.c.state.in_(TERMINAL_STATES), is_recent))
        return {state: count for state, count in found}
