"""Which stages have no replica, for all who estimate when a job is done.

Who runs jobs sees the replicas, and others answer for the jobs: what they all have is the database.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from sqlalchemy import delete, insert

from serve.db import Database
from serve.tables import sleeping_stages


def record_sleeping(database: Database, stages: AbstractSet[str]) -> None:
    """Record the stages that have no replica now.

    Raises:
        NotReady: the database does not answer.
    """
    with database.writing() as connection:
        connection.execute(delete(sleeping_stages))
        if stages:
            connection.execute(insert(sleeping_stages), [{"name": name} for name in sorted(stages)])
