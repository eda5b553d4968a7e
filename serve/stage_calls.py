"""The calls of jobs to the stages: in turn, within what the stages can run, and stoppable."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from opentelemetry import trace

from cascade_core.errors import Cancelled, CannotBeServed, OutOfMemory, StageLost
from serve.capacity import Capacity
from serve.db import Database
from serve.deaths import count_death
from serve.line import stage_work
from serve.metrics import QueueMetrics
from serve.patience import until_ready
from serve.records import OpenJob
from serve.stage_client import OnMessage, StageClient, StageResult
from serve.turns import Turns

logger = logging.getLogger(__name__)


class StageCalls:
    """What the jobs of this process ask of the stages.

    Args:
        database: where deaths of replicas are counted.
        stages: the clients of stages ``c``, ``b`` and ``a``.
        turns: in which order calls get to each stage.
        metrics: notes how long calls wait for their turn.
    """

    def __init__(
        self,
        database: Database,
        stages: dict[str, StageClient],
        turns: dict[str, Turns],
        metrics: QueueMetrics,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._stages = stages
        self._turns = turns
        self._capacity = Capacity()
        self._outages: set[str] = set()
        self._given_up: set[str] = set()
        self._running: dict[str, dict[asyncio.Task[StageResult], str]] = {}

    async def call(
        self, job: OpenJob, index: int, stage: str, args: tuple[Any, ...], on_message: OnMessage
    ) -> StageResult:
        """Call a stage for one image of a job, in turn.

        Raises:
            Cancelled: the job was stopped meanwhile.
            CannotBeServed: no replica can run it.
            CascadeError: the stage failed.
        """
        work = self._in_turn(job, index, stage, args, on_message)
        try:
            result = await self._stoppable(job.id, stage, work)
        except OutOfMemory as error:
            raise self._capacity.ran_out(stage, job.request) from error
        self._capacity.ran(stage, job.request)
        return result

    def stop(self, job_id: str) -> None:
        """Stop the calls of a job; the replicas free their rows within one step."""
        for task in self._running.get(job_id, ()):
            if task is not asyncio.current_task():
                task.cancel()

    def give_up(self, job_id: str) -> None:
        """Stop the other images of a job that one of them has failed."""
        self._given_up.add(job_id)
        self.stop(job_id)

    def is_given_up(self, job_id: str) -> bool:
        """Tell whether an image of this job has failed it."""
        return job_id in self._given_up

    def forget(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._given_up.discard(job_id)

    def set_outages(self, stages: set[str]) -> None:
        """Fail the calls of stages that do not start, those under way and those to come."""
        self._outages = stages
        for calls in list(self._running.values()):
            for task, stage in calls.items():
                if stage in stages:
                    task.cancel()

    async def _in_turn(
        self, job: OpenJob, index: int, stage: str, args: tuple[Any, ...], on_message: OnMessage
    ) -> StageResult:
        async def on_death() -> int:
            count = partial(count_death, self._database, job.id, f"{stage}{index}")
            return await until_ready(partial(asyncio.to_thread, count))

        self._capacity.check(stage, job.request)
        asked_s = time.monotonic()
        async with self._turns[stage].turn(job.owner.turns, stage_work(stage, job.request)):
            began_s = time.monotonic()
            self._metrics.waited(stage, began_s - asked_s)
            told = trace.get_current_span()
            told.add_event("its turn")
            told.set_attribute("cascade.turn_s", began_s - asked_s)
            self._capacity.check(stage, job.request)  # others may have learnt it meanwhile
            client = self._stages[stage]
            try:
                result = await client.call(*args, on_message=on_message, on_death=on_death)
            except StageLost:
                # Each of its images would take replicas along; the next has its turn right after.
                self.give_up(job.id)
                raise
            told.set_attribute("cascade.model_s", result.seconds)
            logger.info(
                "stage %s, image %d: %.2f s for its turn, %.2f s for the call, %.2f s on the model",
                *(stage, index, began_s - asked_s, time.monotonic() - began_s, result.seconds),
            )
            return result

    async def _stoppable(
        self, job_id: str, stage: str, work: Coroutine[Any, Any, StageResult]
    ) -> StageResult:
        """Await a call so that :meth:`stop` and :meth:`set_outages` can end it."""
        task = asyncio.create_task(work)
        calls = self._running.setdefault(job_id, {})
        calls[task] = stage
        if stage in self._outages:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise  # this process shuts down and the job goes on elsewhere, or its time is up
            if stage in self._outages:
                message = f"no replica of stage {stage.upper()} runs, and none can be started"
                raise CannotBeServed(message) from None
            raise Cancelled("the job was cancelled") from None
        finally:
            del calls[task]
            if not calls:
                self._running.pop(job_id, None)
