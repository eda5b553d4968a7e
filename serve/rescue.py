"""Jobs that nobody works on: found and started again by the Jobs replica of rank 0.

Both ways may be gone twice without harm: DBOS runs a workflow of one id once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from dbos import DBOS

from serve.db import Database
from serve.executors import Executors

_FAILED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

logger = logging.getLogger(__name__)


async def start_stranded(database: Database, start: Callable[[str], Awaitable[None]]) -> None:
    """Start open jobs that no workflow works on, from our own records.

    Their process died right after it recorded them, or their workflow failed without ending the
    job: DBOS could not read its records. The steps look for what was made before.

    Args:
        database: where the jobs are.
        start: starts a recorded job's workflow.
    """
    open_ids = await database.run(database.open_job_ids)
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
        logger.warning("taking up job %s, which nobody works on", job_id)
        await start(job_id)


async def adopt(executors: Executors, own_name: str) -> None:
    """Hand the workflows of processes that are gone to those that are there."""
    for name in await executors.database.run(executors.gone, own_name):
        pending = await DBOS.list_workflows_async(
            status="PENDING", executor_id=name, load_input=False, load_output=False
        )
        for workflow in pending:
            logger.warning("adopting %s of %s, which is gone", workflow.workflow_id, name)
            await DBOS.resume_workflow_async(workflow.workflow_id)
        await executors.database.run(executors.forget, name)
