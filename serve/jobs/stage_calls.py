"""Calls the stages for images, and has recorded what they report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from cascade_core.families.spec import StageSpec
from serve.jobs.deadline_timeout import in_time
from serve.jobs.dispatch.dispatcher import Dispatcher
from serve.jobs.dispatch.stage_client import StageResult
from serve.jobs.preview_check import PreviewCheck
from serve.jobs.progress.recorder import ProgressRecorder
from serve.jobs.stage_outputs import StageOutputs
from serve.messages import StageMessage
from serve.served_models import Models
from serve.storage.records import OpenJob
from serve.storage.retry import RetryingDatabase
from serve.telemetry.tracing import span


class StageCalls:
    """Calls the stages for the images of jobs.

    Args:
        models: that make the images.
        database: knows the deadlines of jobs.
        dispatcher: calls the stages.
        preview_check: says whether previews are shown before they are checked.
        progress: records what the stages report.
        outputs: reads what the encoder takes.
        still_open: returns a job that has begun; raises Cancelled if it has ended since.
    """

    def __init__(
        self,
        *,
        models: Models,
        database: RetryingDatabase,
        dispatcher: Dispatcher,
        preview_check: PreviewCheck,
        progress: ProgressRecorder,
        outputs: StageOutputs,
        still_open: Callable[[str], OpenJob],
    ) -> None:
        self._models = models
        self._database = database
        self._dispatcher = dispatcher
        self._preview_check = preview_check
        self._progress = progress
        self._outputs = outputs
        self._still_open = still_open

    async def call(
        self,
        job_id: str,
        index: int,
        stage: StageSpec,
        source: bytes | None,
        writes: Sequence[asyncio.Task[None]],
    ) -> StageResult:
        """Call a stage until the job's deadline.

        The encoder's upload is read when the call has its slot: one for each waiting image could
        fill the memory. If the store does not answer, the slot is given back and asked for again.

        Raises:
            Cancelled: the job was cancelled.
            DeadlineExceeded: it was not done in time.
            CannotBeServed: no replica can run it.
            CascadeError: the stage failed.
        """
        opened = self._still_open(job_id)
        family, redo = self._models.of(opened.request).family, opened.images[index].redo_count
        hides_previews = self._preview_check.is_required and family.leads_to_kept(stage)
        reads_upload = stage == family.encoder

        def on_message(message: StageMessage) -> None:
            if hides_previews and message["type"] == "step":  # one is shown when it is checked
                message["preview"] = None
            self._progress.tell(job_id, index, stage.name, message, writes, redo)

        async def call() -> StageResult:
            async with in_time(self._database, job_id):
                job = self._still_open(job_id)
                taken = partial(self._outputs.read_upload, job) if reads_upload else source
                with span(f"stage {stage.name}", image=index):
                    return await self._dispatcher.call(job, index, stage, taken, on_message)

        return await (self._outputs.retried(job_id, call) if reads_upload else call())
