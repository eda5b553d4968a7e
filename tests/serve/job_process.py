"""A process that runs jobs as :class:`serve.jobs.deployment.Jobs` does, without Ray and stages.

Arguments: the database's URL, DBOS' URL, the executor id, and ``hang`` or ``finish``. With ``hang``
its jobs never end; with ``finish`` they succeed at once. It prints ``ready`` after its first sign
of life, starts the job whose id it reads from its input, and prints ``running`` for each job that
it begins.
"""

from __future__ import annotations

import asyncio
import sys

from dbos import DBOS, SetWorkflowID

from serve.jobs.dbos_runtime import launch_dbos
from serve.jobs.recovery import Recovery
from serve.storage.database import Database
from serve.storage.leases import LeaseStore


async def main(url: str, dbos_url: str, name: str, mode: str) -> None:
    database = Database(url)

    @DBOS.workflow(name="job")
    async def run(job_id: str) -> None:
        print("running", flush=True)
        if mode == "hang":
            await asyncio.Event().wait()
        await database.run(database.jobs.finish, job_id, "succeeded")

    async def start(job_id: str) -> None:
        with SetWorkflowID(job_id):
            await DBOS.start_workflow_async(run, job_id)

    launch_dbos(dbos_url, name)
    leases = LeaseStore(database)
    leases.renew(name)
    tasks = Recovery(leases, name, start).run()
    print("ready", flush=True)
    if line := await asyncio.to_thread(sys.stdin.readline):
        await start(line.strip())
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
