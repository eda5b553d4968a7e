"""Jobs that no process works on: found and started again by the process that holds the lease.

All of it may be done twice without harm: DBOS runs a workflow of one id once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

from dbos import DBOS

from serve.jobs.deadlines import end_ownerless
from serve.periodic import every
from serve.storage.database import Database
from serve.storage.leases import RENEW_EVERY_S, LeaseStore

STRANDED_AFTER: Final = timedelta(seconds=5)
"""A younger job is about to be started by the process that accepted it."""
RESCUE_EVERY_S: Final = 2.0
_FAILED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

logger = logging.getLogger(__name__)


class Recovery:
    """Shows that a process lives; with the lease, it takes up what others left and ends late jobs.

    Args:
        leases: the processes that run jobs.
        name: this one's executor id.
        start: starts a recorded job's workflow.
    """

    def __init__(
        self, leases: LeaseStore, name: str, start: Callable[[str], Awaitable[None]]
    ) -> None:
        self._leases = leases
        self._name = name
        self._start = start
        self._leads = False
        # A thread of its own: under load the others are busy for longer than a sign of life may be
        # late, and then the jobs would go to another replica although this one works on them.
        self._beating = ThreadPoolExecutor(1, "beat")

    @property
    def leads(self) -> bool:
        """Return True while this process holds the lease on what one process does for all."""
        return self._leads

    def run(self) -> list[asyncio.Task[None]]:
        """Begin; the tasks go on until they are cancelled."""
        # Apart from each other, and from what asks Ray: nothing may hold up a sign of life.
        return [
            asyncio.create_task(every(RENEW_EVERY_S, self._beat)),
            asyncio.create_task(every(RESCUE_EVERY_S, self._rescue)),
        ]

    async def _beat(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._beating, self._show_life)

    def _show_life(self) -> None:
        self._leads = self._leases.renew(self._name)

    async def _rescue(self) -> None:
        if self._leads:
            database = self._leases.database
            await database.run(end_ownerless, database)
            await start_stranded(database, self._start)
            await adopt(self._leases, self._name)


async def start_stranded(database: Database, start: Callable[[str], Awaitable[None]]) -> None:
    """Start open jobs that no workflow works on, from our own records.

    Their process died right after it recorded them, or their workflow failed without ending the
    job: DBOS could not read its records. The steps look for what was made before. Jobs of a later
    release are left to its processes.

    Args:
        database: where the jobs are.
        start: starts a recorded job's workflow.
    """
    open_ids = await database.run(database.jobs.runnable_ids, STRANDED_AFTER)
    if not open_ids:
        return
    known = await DBOS.list_workflows_async(
        workflow_ids=open_ids, load_input=False, load_output=False
    )
    failed = sorted(workflow.workflow_id for workflow in known if workflow.status in _FAILED)
    if failed:
        await DBOS.delete_workflows_async(failed, delete_children=True)
    missing = set(open_ids) - {workflow.workflow_id for workflow in known}
    for job_id in sorted(missing.union(failed)):
        logger.warning("taking up job %s, which no process has started", job_id)
        await start(job_id)


async def adopt(leases: LeaseStore, own_name: str) -> None:
    """Hand the workflows of processes that are gone to those that are there.

    Those of jobs of a later release are left to its processes.
    """
    for name, heartbeat_at in leases.expired(own_name).items():
        pending = await DBOS.list_workflows_async(
            status="PENDING", executor_id=name, load_input=False, load_output=False
        )
        ids = [workflow.workflow_id for workflow in pending]
        later = await _of_later_releases(leases.database, ids)
        for workflow_id in ids:
            if workflow_id not in later:
                logger.warning("adopting %s of %s, which is gone", workflow_id, name)
                await DBOS.resume_workflow_async(workflow_id)
        if not later:
            await leases.database.run(leases.remove, name, heartbeat_at)


async def _of_later_releases(database: Database, workflow_ids: list[str]) -> set[str]:
    """Return which workflows belong to jobs that a later release has accepted."""
    job_ids = {workflow_id: workflow_id.partition("-")[0] for workflow_id in workflow_ids}
    later = await database.run(database.jobs.of_later_releases, set(job_ids.values()))
    return {workflow_id for workflow_id, job_id in job_ids.items() if job_id in later}
