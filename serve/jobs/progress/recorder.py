"""Records what stages report of running jobs: all jobs together, off the path of their calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final

from serve.messages import StageMessage
from serve.storage.blobs import blob_keys
from serve.storage.job_store import JobStore
from serve.storage.records import ProgressStep
from serve.storage.retry import RetryingBlobs, RetryingDatabase

WRITE_EVERY_S: Final = 0.1
"""Between two transactions: a client sees a step this much later at most."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Report:
    """A message of a stage that is not recorded yet.

    Attributes:
        told_s: when it came, of ``time.monotonic``.
        preview: stores the message's preview and returns its key, or None if that failed.
        awaited: what must have ended before the message is recorded.
    """

    job_id: str
    index: int
    stage: str
    message: StageMessage
    told_s: float
    preview: asyncio.Task[str | None] | None
    awaited: tuple[asyncio.Task[Any], ...]

    @property
    def is_ready(self) -> bool:
        return all(task.done() for task in self.awaited)

    def replaces(self, earlier: _Report) -> bool:
        """Return True if an earlier report says nothing that this one does not say."""
        is_step = self.message["type"] == earlier.message["type"] == "step"
        return is_step and self.stage == earlier.stage and earlier.preview is None


class ProgressRecorder:
    """Collects the messages of stages and records those of all jobs in one transaction.

    The messages of one image are recorded in their order. If a store does not answer, they are
    lost, and the jobs go on. While another transaction has locked a job's row, the messages of that
    job wait, and no other job does.

    Args:
        database: where steps are recorded.
        blobs: where previews are stored.
    """

    def __init__(self, database: RetryingDatabase, blobs: RetryingBlobs) -> None:
        self._database = database
        self._blobs = blobs
        self._reports: dict[tuple[str, int], list[_Report]] = {}
        self._begun: set[str] = set()
        self._recording = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    def tell(
        self,
        job_id: str,
        index: int,
        stage: str,
        message: StageMessage,
        writes: Iterable[asyncio.Task[None]] = (),
        redo: int = 0,
    ) -> None:
        """Take a message; it is recorded within a moment, and this does not wait for it.

        Args:
            job_id: of the job.
            index: of the image.
            stage: that reports.
            message: any but ``done``.
            writes: of the outputs of earlier stages. The message is recorded once they have ended,
                so that no stage is seen to begin again after a later one was seen.
            redo: how often the image was composed anew before.
        """
        if message["type"] == "started":
            if job_id in self._begun:
                return
            self._begun.add(job_id)
        preview, data = None, message.get("preview")
        if data is not None:
            key = blob_keys.preview_key(job_id, index, stage, message["step"], redo)
            preview = asyncio.create_task(self._store(key, data))
        awaited = (*writes, preview) if preview else tuple(writes)
        report = _Report(job_id, index, stage, message, time.monotonic(), preview, awaited)
        reports = self._reports.setdefault((job_id, index), [])
        if reports and report.replaces(reports[-1]):
            reports.pop()
        reports.append(report)
        if self._writer is None:
            # In a context of its own: it records other jobs, too.
            self._writer = asyncio.create_task(self._record_regularly(), context=Context())

    async def settle(self, job_id: str, index: int) -> None:
        """Return when all that was told of an image is recorded, or lost with a store.

        If another transaction has locked the job's row, this waits for it, as the picture would.
        """
        while True:
            reports = self._reports.get((job_id, index), ())
            if awaited := [task for report in reports for task in report.awaited]:
                await asyncio.wait(awaited)
            if reports:
                await self._record()
            async with self._recording:  # a transaction under way may hold some of it
                pass
            if (job_id, index) not in self._reports:
                return
            await asyncio.sleep(WRITE_EVERY_S)

    async def end(self, job_id: str) -> None:
        """Settle all images of a job that ends."""
        async with self._recording:  # after a transaction, what it could not record is back
            pass
        for of_job, index in list(self._reports):
            if of_job == job_id:
                await self.settle(of_job, index)

    def forget(self, job_id: str) -> None:
        """Forget a job that this process no longer runs."""
        self._begun.discard(job_id)

    async def _record_regularly(self) -> None:
        while self._reports or self._recording.locked():  # a transaction may put some back
            await self._record()
            await asyncio.sleep(WRITE_EVERY_S)
        self._writer = None

    async def _record(self) -> None:
        """Record all reports that are ready."""
        async with self._recording:
            if not (reports := self._take_ready()):
                return
            locked_ids = None
            try:
                locked_ids = await self._write(reports)
            except Exception:  # the reports are those of several jobs, which all can do without
                logger.exception("progress was not recorded")
            if locked_ids is None:  # all is lost; the jobs start when their next stages do
                self._begun -= {report.job_id for report in reports}
            else:
                self._put_back([report for report in reports if report.job_id in locked_ids])

    def _take_ready(self) -> list[_Report]:
        """Remove the reports that are ready, up to the first of an image that is not."""
        taken = []
        for image, reports in list(self._reports.items()):
            while reports and reports[0].is_ready:
                taken.append(reports.pop(0))
            if not reports:
                del self._reports[image]
        return taken

    def _put_back(self, reports: Sequence[_Report]) -> None:
        """Put reports before those that came meanwhile, to be recorded with them."""
        for report in reversed(reports):
            self._reports.setdefault((report.job_id, report.index), []).insert(0, report)

    async def _write(self, reports: Sequence[_Report]) -> set[str] | None:
        """Return the jobs whose rows are locked; None if the database did not answer."""
        now_s = time.monotonic()
        started_ago_s: dict[str, float] = {}
        warnings: dict[str, list[str]] = {}
        steps: list[ProgressStep] = []
        for report in reports:
            job_id, type_ = report.job_id, report.message["type"]
            if type_ == "started":
                started_ago_s.setdefault(job_id, now_s - report.told_s)
            elif type_ == "warning":
                warnings.setdefault(job_id, []).append(report.message["text"])
            else:
                steps.append(_step(report))
        record = JobStore.record_progress
        return await self._database.jobs.try_once(record, steps, started_ago_s, warnings)

    async def _store(self, key: str, data: bytes) -> str | None:
        return key if await self._blobs.try_put(key, data) else None


def _step(report: _Report) -> ProgressStep:
    message = report.message
    return ProgressStep(
        job_id=report.job_id,
        index=report.index,
        stage=report.stage,
        step=message["step"],
        steps=message["steps"],
        preview_key=None if report.preview is None else report.preview.result(),
    )
