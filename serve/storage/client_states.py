"""What a client keeps with a job, changed after the job was accepted.

A client that must not miss a job's end, nor act on it twice, names an inbox in the job's
``client_state``, finds its jobs by it after a restart, and takes each out when it is dealt with.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from cascade_core.errors import Conflict
from serve.storage.database import Database
from serve.storage.rows import inbox_of
from serve.storage.schema.tables import jobs


def replace_client_state(
    database: Database,
    job_id: str,
    state: dict[str, Any] | None,
    expected: dict[str, Any] | None = None,
) -> None:
    """Give a job another client state; of several that expect the same one, one succeeds.

    Args:
        database: where the job is.
        job_id: of a job that is there.
        state: the new one.
        expected: what must be there now; None: anything.

    Raises:
        Conflict: something else is there.
    """
    query = select(jobs.c.client_state).where(jobs.c.id == job_id).with_for_update()
    with database.writing() as connection:
        current = connection.execute(query).scalar()
        if expected is not None and current != expected:
            raise Conflict("the job's client_state is another one by now", "expected")
        values = {"client_state": state, "inbox": inbox_of(state)}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
