"""The Jobs deployment: accepts, cancels, waits for and drains jobs; DBOS keeps them alive."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle
from sqlalchemy.engine import make_url
from ulid import ULID

from cascade_core.errors import NotReady
from cascade_core.request import GenerationRequest
from serve.db import Database
from serve.log import configure_logging
from serve.metrics import JobMetrics
from serve.records import Claim, JobOwner, NewJob, PlannedImage
from serve.settings import Settings
from serve.stage_client import StageClient
from serve.store import BlobStore
from serve.upkeep import Upkeep
from serve.workflow import JobWorkflow

POLL_S = 0.05

logger = logging.getLogger(__name__)


class Jobs:
    """Owns the jobs of one replica rank; a restarted replica of that rank takes them up again.

    Args:
        settings: where the databases and blobs are.
        stage_c, stage_b, stage_a: handles of the stage deployments.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits constructors
        self,
        settings: Settings,
        stage_c: DeploymentHandle,
        stage_b: DeploymentHandle,
        stage_a: DeploymentHandle,
    ) -> None:
        configure_logging(settings)
        self._database = Database(settings.database_url)
        self._database.create_tables()
        self._metrics = JobMetrics()
        self._ended: dict[str, asyncio.Event] = {}
        self._is_draining = False
        handles = {"c": stage_c, "b": stage_b, "a": stage_a}
        blobs = BlobStore(settings.blob_url)
        self._workflow = JobWorkflow(
            self._database,
            blobs,
            {name: StageClient(name, handle) for name, handle in handles.items()},
            self._metrics,
            self._on_end,
        )
        rank = ray_serve.get_replica_context().rank.rank
        launch_dbos(settings.dbos_url, executor_id=f"jobs-{rank}")
        if rank == 0:
            await self._start_stranded()
            upkeep = Upkeep(self._database, blobs, settings)
            self._upkeep = asyncio.create_task(upkeep.run_forever())

    async def submit(
        self,
        request: dict[str, Any],
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        claim: Claim,
    ) -> str:
        """Record a job and start it; returns its id once nothing can lose it any more.

        A request that comes again gets the id of the job it was accepted as.

        Raises:
            NotReady: the service is draining.
            IdempotencyMismatch: the claim was made for another request.
        """
        if self._is_draining:
            raise NotReady("the service is shutting down; try again in a minute")
        job = _new_job(GenerationRequest.from_dict(request), client_state, owner, claim)
        earlier_id = await asyncio.to_thread(self._database.insert_job, job)
        if earlier_id is not None:
            await self._start_if_stranded(earlier_id)
            return earlier_id
        await self._start(job.id)
        return job.id

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; False if it had already ended."""
        if not await asyncio.to_thread(self._database.finish_job, job_id, "cancelled"):
            return False
        self._workflow.cancel(job_id)
        return True

    def stop_calls(self, job_id: str) -> None:
        """Stop the calls of a job that another replica of this deployment has cancelled."""
        self._workflow.cancel(job_id)

    async def wait(self, job_id: str, timeout_s: float) -> None:
        """Return when the job has ended, or after ``timeout_s``."""
        ended = self._ended.get(job_id)
        try:
            async with asyncio.timeout(timeout_s):
                await (ended.wait() if ended else self._poll_until_ended(job_id))
        except TimeoutError:
            return

    def stop_accepting(self) -> None:
        """Refuse new jobs from now on; what runs goes on."""
        self._is_draining = True

    async def drain(self, timeout_s: float) -> int:
        """Wait until no job of any replica is open; returns how many still are.

        Those are not lost: they go on when the service starts again.
        """
        deadline_s = time.monotonic() + timeout_s
        while open_ids := await asyncio.to_thread(self._database.open_job_ids):
            if time.monotonic() >= deadline_s:
                logger.warning("%d jobs go on at the next start", len(open_ids))
                break
            await asyncio.sleep(POLL_S)
        return len(open_ids)

    def check_health(self) -> None:
        """Publish how many jobs were started here and are open."""
        self._metrics.open_jobs(len(self._ended))

    async def _start(self, job_id: str) -> None:
        self._ended[job_id] = asyncio.Event()
        with SetWorkflowID(job_id):
            await DBOS.start_workflow_async(self._workflow.run, job_id)

    async def _start_stranded(self) -> None:
        """Start jobs that were recorded just before a process died, without their workflow."""
        for job_id in await asyncio.to_thread(self._database.open_job_ids):
            await self._start_if_stranded(job_id)

    async def _start_if_stranded(self, job_id: str) -> None:
        if await DBOS.get_workflow_status_async(job_id) is None:
            logger.warning("taking up job %s", job_id)
            await self._start(job_id)

    def _on_end(self, job_id: str) -> None:
        ended = self._ended.pop(job_id, None)
        if ended is not None:
            ended.set()

    async def _poll_until_ended(self, job_id: str) -> None:
        while True:
            job = await asyncio.to_thread(self._database.job, job_id)
            if job is None or job.is_terminal:
                return
            await asyncio.sleep(POLL_S)


def launch_dbos(database_url: str, executor_id: str) -> None:
    """Start DBOS in this process; it resumes what this executor left unfinished.

    The application version is fixed, so that an upgrade resumes the jobs of the version before.
    """
    if make_url(database_url).get_backend_name() == "sqlite":
        _use_wal(make_url(database_url).database or "")
    config = DBOSConfig(
        name="cascade",
        system_database_url=database_url,
        executor_id=executor_id,
        application_version="1",
        log_level="WARNING",
    )
    DBOS(config=config)
    DBOS.launch()


def _use_wal(path: str) -> None:
    """Let readers and the writer of an SQLite file not wait for each other; the file remembers."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _new_job(
    request: GenerationRequest,
    client_state: dict[str, Any] | None,
    owner: JobOwner,
    claim: Claim,
) -> NewJob:
    images = []
    for index in range(request.n):
        image = request.for_image(index)
        images.append(
            PlannedImage(
                id=str(ULID()),
                index=index,
                latent_id=request.latent_id or str(ULID()),
                seed=image.seed,
                decoder_seed=image.decoder_seed,
            )
        )
    return NewJob(
        claim=claim,
        request=request,
        client_state=client_state,
        owner=owner,
        images=tuple(images),
    )
