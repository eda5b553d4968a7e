"""Draws compositions small, has them checked, and shows them to clients."""

from __future__ import annotations

from collections.abc import Callable

from cascade_core.errors import ContentRefused
from cascade_core.families.spec import StageSpec
from serve.jobs.deadline_timeout import in_time
from serve.jobs.dispatch.dispatcher import Dispatcher
from serve.jobs.preview_check import PreviewCheck
from serve.jobs.progress.recorder import ProgressRecorder
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.jobs.stage_outputs import StageOutputs, checked_input
from serve.messages import StageMessage
from serve.served_models import Models
from serve.storage.records import OpenJob
from serve.storage.retry import RetryingDatabase


class Compositions:
    """Draws the outputs that families keep.

    Args:
        models: that make the images.
        database: knows the deadlines of jobs.
        dispatcher: calls the replica that draws.
        preview_check: checks what is drawn.
        progress: records what clients see.
        watched_jobs: the jobs whose previews a client can see.
        outputs: where kept outputs are.
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
        watched_jobs: WatchedJobs,
        outputs: StageOutputs,
        still_open: Callable[[str], OpenJob],
    ) -> None:
        self._models = models
        self._database = database
        self._dispatcher = dispatcher
        self._preview_check = preview_check
        self._progress = progress
        self._watched_jobs = watched_jobs
        self._outputs = outputs
        self._still_open = still_open

    async def check(self, job: OpenJob, index: int, stage: StageSpec, output: bytes) -> None:
        """Have a composition checked before the next stage, if a checker sees previews.

        Args:
            job: of the image.
            index: of the image.
            stage: that composed it.
            output: of that stage.

        Raises:
            CompositionRejected: a checker wants another one.
            ContentRefused: a checker refused it; the job's other images are stopped, too.
        """
        if not self._preview_check.is_required:
            return
        preview = await self._checked(job, index, stage, output)
        is_shown = self._preview_check.shows_previews and self._watched_jobs.is_watched(job.id)
        if is_shown and stage in self._models.route(job.request):
            steps = stage.steps(job.request_of(index))
            message = StageMessage(type="step", step=steps, steps=steps, preview=preview)
            redo = job.images[index].redo_count
            self._progress.tell(job.id, index, stage.name, message, redo=redo)

    async def keep(self, job: OpenJob, index: int, stage: StageSpec) -> None:
        """Store the preview of a composition with which a job stops, watched or not.

        Raises:
            CompositionRejected, ContentRefused: as :meth:`check`.
            Gone: the composition was lost, or is damaged.
        """
        output = await self._outputs.read(job, index, stage, is_start=False)
        with checked_input(stage.output_class(), output):
            preview = await self._checked(job, index, stage, output)
        await self._progress.settle(job.id, index)
        await self._outputs.write_preview(job, index, stage, preview)

    async def reject(self, job: OpenJob, index: int, rule: str) -> OpenJob:
        """Delete a composition and give its image other seeds; returns the job with that image."""
        await self._progress.settle(job.id, index)
        return await self._preview_check.reject(job, index, rule)

    async def _checked(self, job: OpenJob, index: int, stage: StageSpec, output: bytes) -> bytes:
        """Return the preview, as a WebP file, after the checkers have let it pass."""
        try:
            async with in_time(self._database, job.id):
                opened = self._still_open(job.id)
                preview = await self._dispatcher.preview(opened, index, stage, output)
                if self._preview_check.is_required:
                    is_made = stage in self._models.route(job.request)
                    is_composed = is_made and job.request.composing_steps > 0
                    check = self._preview_check.check
                    await check(job, index, preview, is_composed=is_composed)
        except ContentRefused:
            self._dispatcher.give_up(job.id)
            raise
        return preview
