"""Which stages have no replica, for all who estimate when a job is done.

Who runs jobs sees the replicas, and others answer for the jobs: what they all have is the database.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from sqlalchemy import delete

from serve.storage.database import Database
from serve.storage.schema.tables import sleeping_stages, upsert


def record_sleeping(database: Database, stages: AbstractSet[str]) -> None:
    """Record the stages that have no replica now.

    Raises:
        NotReady: the database does not answer.
    """
    with database.writing() as connection:
        connection.execute(delete(sleeping_stages))
        for name in sorted(stages):  # another process may write the same in this moment
            upsert(connection, sleeping_stages, {"name": name})
