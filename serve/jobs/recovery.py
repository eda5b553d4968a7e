"""Recovers jobs that lost their process: adopts them, starts orphans, fails overdue ones.

It also ends jobs that wait in vain to be continued.

The process that holds the lease does this for all processes of its release. Doing it twice is
harmless: DBOS runs a workflow of one id once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Final

from dbos import DBOS

from cascade_core.errors import RecordNewer
from serve.jobs.deadline_timeout import deadline_exceeded
from serve.periodic import every
from serve.storage.database import Database
from serve.storage.job_parts.parts import is_redo
from serve.storage.leases import RENEW_EVERY_S, LeaseStore

ORPHANED_AFTER: Final = timedelta(seconds=5)
"""The process that accepted a job is about to start it while the job is younger than this."""
OVERDUE_AFTER: Final = timedelta(seconds=60)
"""The process that runs a job ends it at its deadline. A job that is open for so long after its
deadline has lost its process and cannot be resumed."""
RECOVER_EVERY_S: Final = 2.0
_FAILED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

Count = Callable[[str, str, str], None]
"""Counts a job by its kind, its state and its error's code."""

logger = logging.getLogger(__name__)


class Recovery:
    """Renews a process's heartbeat and lease; recovers jobs while the process holds the lease.

    Args:
        leases: the heartbeats of the processes that run jobs.
        name: the executor id of this process.
        start: starts a workflow by its id, see :func:`serve.storage.job_parts.parts.run_id`.
        count: counts a job that is ended here.
        may_wait: how long a job waits to be continued.
    """

    def __init__(
        self,
        leases: LeaseStore,
        name: str,
        start: Callable[[str], Awaitable[None]],
        count: Count,
        may_wait: timedelta,
    ) -> None:
        self._leases = leases
        self._name = name
        self._start = start
        self._count = count
        self._may_wait = may_wait
        self._is_leader = False
        # A separate thread: under load the other threads are busy for longer than a heartbeat may
        # be late. The jobs would then go to another replica although this one works on them.
        self._heartbeat = ThreadPoolExecutor(1, "heartbeat")

    @property
    def is_leader(self) -> bool:
        """True while this process holds the lease on the work that one process does for all."""
        return self._is_leader

    def run(self) -> list[asyncio.Task[None]]:
        """Begin; the tasks go on until they are cancelled."""
        # Separate tasks, as nothing may delay a heartbeat.
        return [
            asyncio.create_task(every(RENEW_EVERY_S, self._renew)),
            asyncio.create_task(every(RECOVER_EVERY_S, self._recover)),
        ]

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.run_in_executor(self._heartbeat, self._leases.renew, self._name)
        self._is_leader = await renewed

    async def _recover(self) -> None:
        if self._is_leader:
            database = self._leases.database
            await database.run(fail_overdue, database, self._count, self._may_wait)
            await database.run(end_waits, database, self._count)
            await start_orphaned(database, self._start)
            await adopt_expired(self._leases, self._name)


def fail_overdue(database: Database, count: Count, may_wait: timedelta) -> None:
    """Fail the open jobs that no process ended at their deadline.

    A draft whose redo is overdue waits again with what it had before, for ``may_wait``.
    """
    error = deadline_exceeded().to_dict()
    for job_id, part in database.deadlines.overdue(OVERDUE_AFTER).items():
        with suppress(RecordNewer):  # left to the release that can read it
            if is_redo(part):
                is_over = database.waiting.begin(job_id, may_wait, part, error)
            elif is_over := database.jobs.finish(job_id, "failed", error, part=part):
                count_ended(database, job_id, count)
            if is_over:
                logger.error("job %s was still open long after its deadline", job_id)


def end_waits(database: Database, count: Count) -> None:
    """End the jobs that have waited for their clients for as long as they may."""
    for job_id in database.waiting.over_ids():
        with suppress(RecordNewer):  # left to the release that can read it
            if database.jobs.finish(job_id, "succeeded", if_in=["waiting"]):
                logger.info("job %s ends with what it has: it was not continued", job_id)
                count_ended(database, job_id, count)


def count_ended(database: Database, job_id: str, count: Count) -> None:
    """Count a job that was not ended by its workflow; how long it took tells nothing."""
    job = database.jobs.get(job_id)
    if job is not None:  # retention may have deleted it
        count(job.request.kind, job.state, (job.error or {}).get("code", ""))


async def start_orphaned(database: Database, start: Callable[[str], Awaitable[None]]) -> None:
    """Start open jobs that have no workflow, from our own records.

    Their process died right after it recorded them, or their workflow failed without ending the
    job because DBOS could not read its records. The steps look for earlier results. Jobs of a later
    release are left to its processes.

    Args:
        database: where the jobs are.
        start: starts a workflow by its id, see :func:`serve.storage.job_parts.parts.run_id`.
    """
    open_ids = await database.run(database.jobs.runnable_ids, ORPHANED_AFTER)
    if not open_ids:
        return
    known = await DBOS.list_workflows_async(
        workflow_ids=open_ids, load_input=False, load_output=False
    )
    failed = sorted(workflow.workflow_id for workflow in known if workflow.status in _FAILED)
    if failed:
        await DBOS.delete_workflows_async(failed, delete_children=True)
    missing = set(open_ids) - {workflow.workflow_id for workflow in known}
    for run_id in sorted(missing.union(failed)):
        logger.warning("starting orphaned job %s", run_id)
        await start(run_id)


async def adopt_expired(leases: LeaseStore, own_name: str) -> None:
    """Hand the workflows of expired processes to the running ones.

    Workflows of jobs of a later release are left to its processes.
    """
    for name, heartbeat_at in leases.expired(own_name).items():
        pending = await DBOS.list_workflows_async(
            status="PENDING", executor_id=name, load_input=False, load_output=False
        )
        ids = [workflow.workflow_id for workflow in pending]
        later = await _of_later_releases(leases.database, ids)
        for workflow_id in ids:
            if workflow_id not in later:
                logger.warning("adopting %s of expired process %s", workflow_id, name)
                await DBOS.resume_workflow_async(workflow_id)
        if not later:
            await leases.database.run(leases.remove, name, heartbeat_at)


async def _of_later_releases(database: Database, workflow_ids: list[str]) -> set[str]:
    """Return which workflows belong to jobs that a later release has accepted."""
    job_ids = {workflow_id: workflow_id.partition("-")[0] for workflow_id in workflow_ids}
    later = await database.run(database.jobs.of_later_releases, set(job_ids.values()))
    return {workflow_id for workflow_id, job_id in job_ids.items() if job_id in later}
