"""Jobs that nobody works on: found and started again by the Jobs replica of rank 0.

Both ways may be gone twice without harm: DBOS runs a workflow of one id once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from dbos import DBOS

from serve.db import Database
from serve.executors import Executors

logger = logging.getLogger(__name__)


async def start_stranded(database: Database, start: Callable[[str], Awaitable[None]]) -> None:
    """Start queued jobs that have no workflow: recorded by a process that died right then.

    Args:
        database: where the jobs are.
        start: starts a recorded job's workflow.
    """
    queued = await database.run(database.queued_job_ids)
    if not queued:
        return
    known = await DBOS.list_workflows_async(
        workflow_ids=queued, load_input=False, load_output=False
    )
    for job_id in sorted(set(queued) - {workflow.workflow_id for workflow in known}):
        logger.warning("taking up job %s, which nobody started", job_id)
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
