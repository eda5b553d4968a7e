"""Finds the jobs that begin: one query for the streams of all callers."""

from __future__ import annotations

from collections.abc import Collection, Set
from datetime import datetime, timedelta
from typing import Final

from ulid import ULID

from serve.storage.database import Database
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, utc_now

_OVERLAP: Final = timedelta(minutes=1)
"""A job that ends before a look finds it is found by its id, if this is not older by more."""


class NewJobs:
    """Finds the jobs that have begun since it was last asked.

    These are the open jobs, and those that began and ended in between, which have young ids.

    Args:
        database: any process appends jobs to it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Set[str] = frozenset()
        self._looked_at: datetime | None = None

    async def look(self, viewpoints: Collection[Viewpoint]) -> dict[str, JobOwner]:
        """Return the owners of new jobs, by job id; at first of all jobs that are found.

        Args:
            viewpoints: jobs that none of them shows may be left out.

        Raises:
            NotReady: the database does not answer.
        """
        now = utc_now()
        first_id = str(ULID.from_datetime((self._looked_at or now) - _OVERLAP))
        key_ids = {viewpoint.key_id for viewpoint in viewpoints}
        find = self._database.jobs.owners_of_begun
        found = await self._database.run(find, key_ids, first_id)
        new = {job_id: owner for job_id, owner in found.items() if job_id not in self._known}
        self._known, self._looked_at = found.keys(), now
        return new
