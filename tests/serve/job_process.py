"""A process that runs jobs as :class:`serve.jobs.deployment.Jobs` does, without Ray and stages."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from multiprocessing.connection import Connection

from dbos import DBOS, SetWorkflowID

from serve.jobs.dbos_runtime import launch_dbos
from serve.jobs.recovery import Recovery
from serve.storage.database import Database
from serve.storage.leases import LeaseStore


def run_jobs(starter: Connection, url: str, dbos_url: str, name: str, hangs: bool) -> None:
    """Say ``ready`` after the first sign of life, then run the job whose id the starter sends.

    Says ``running`` for each job that it begins.

    Args:
        starter: the process that has started this one.
        url: of our tables.
        dbos_url: of the workflow engine's tables.
        name: the executor's id.
        hangs: True if its jobs never end; otherwise they succeed at once.
    """
    asyncio.run(_run(starter, url, dbos_url, name, hangs))


async def _run(starter: Connection, url: str, dbos_url: str, name: str, hangs: bool) -> None:
    database = Database(url)

    @DBOS.workflow(name="job")
    async def run(job_id: str) -> None:
        starter.send("running")
        if hangs:
            await asyncio.Event().wait()
        await database.run(database.jobs.finish, job_id, "succeeded")

    async def start(job_id: str) -> None:
        with SetWorkflowID(job_id):
            await DBOS.start_workflow_async(run, job_id)

    launch_dbos(dbos_url, name)
    leases = LeaseStore(database)
    leases.renew(name)
    tasks = Recovery(leases, name, start, lambda *_: None, timedelta(days=1)).run()
    starter.send("ready")
    await start(await asyncio.to_thread(starter.recv))
    await asyncio.gather(*tasks)
