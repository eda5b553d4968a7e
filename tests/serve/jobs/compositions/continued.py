"""Jobs that wait, and go on when they are continued, on stages that answer here."""

from __future__ import annotations

from typing import Any, Final

from dbos import DBOS, SetWorkflowID

from serve.jobs.workflow import JobWorkflow
from serve.storage.database import Database
from serve.storage.job_parts.choice import Choice
from serve.storage.job_parts.parts import CONTINUED, job_of_run, run_id
from serve.storage.records import Job, JobIdentity, NewJob, OpenLimits, utc_now
from serve.storage.waiting_store import ContinuedJob
from tests.serve.null_stages import Stage

LIMITS: Final = OpenLimits(total=99, per_user=99)


def resume(database: Database, job: NewJob, *indices: int, **changes: Any) -> None:
    choice, identity = Choice(indices, utc_now(), changes), JobIdentity("01", "k", "digest")
    continued = ContinuedJob(job.id, job.owner, choice, identity, 1.0, ["b", "a"])
    assert database.waiting.resume(continued, LIMITS)


async def run(workflow: JobWorkflow, database: Database, workflow_id: str) -> Job:
    """Bring a run of a recorded job to its end; returns the job."""
    job_id, part = job_of_run(workflow_id)
    with SetWorkflowID(workflow_id):
        handle = await DBOS.start_workflow_async(workflow.run, job_id, part)
    await handle.get_result()
    return found(database, job_id)


async def run_rest(workflow: JobWorkflow, database: Database, job: NewJob) -> Job:
    return await run(workflow, database, run_id(job.id, CONTINUED))


def found(database: Database, job_id: str) -> Job:
    job = database.jobs.get(job_id)
    assert job is not None
    return job


def calls(stages: dict[str, Stage]) -> list[int]:
    return [stage.calls for stage in stages.values()]
