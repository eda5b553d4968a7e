"""Stages that take a fixed time per image, with the engine and the figures of the real ones."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.engine.null_stages import NULL_JOB, NullStage
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.messages import StageMessage
from serve.served_models import ServedModel
from serve.settings import Settings
from serve.stages.replica import StageReplica
from serve.stages.work_meter import WorkMeter

SECONDS = {"c": 1.6, "b": 0.8, "a": 0.5}
TIMED_JOB: dict[str, Any] = NULL_JOB | {
    "steps": 2,
    "guidance_scale": 1.0,
    "decoder_steps": 1,
    "decoder_guidance_scale": 1.0,
}


def timed_work(stage: str) -> float:
    """Return the work of one image of ``TIMED_JOB``."""
    request = GenerationRequest(**TIMED_JOB, seed=0, decoder_seed=0)
    return STABLE_CASCADE.stage(stage).work(request)


@dataclass
class _Row:
    seconds: float
    steps: int = 1
    step: int = 0
    bucket: tuple[int, ...] = ()


class _Sleep:
    """A model whose only step is to wait."""

    def __init__(self, name: str) -> None:
        self.name = name

    def admit(self, task: float) -> _Row:
        return _Row(task)

    def advance(self, rows: Sequence[_Row]) -> None:
        for row in rows:
            time.sleep(row.seconds)
            row.step += 1

    def result(self, row: _Row) -> bytes:
        return b""

    def preview(self, row: _Row) -> None:
        return None

    def warm_up(self) -> None:
        return None

    def free_memory(self) -> None:
        return None


class TimedStage:
    """A stage as a deployment; see :class:`serve.stages.deployments.StageDeployment`."""

    def __init__(
        self, model: ServedModel, name: str, settings: Settings, _gpu_share: float | None = None
    ) -> None:
        self._null = NullStage(model, name, settings)
        self._seconds = SECONDS[name]
        self._work = timed_work(name)
        self._replica = StageReplica(_Sleep(name), max_rows=1)
        self._meter = WorkMeter(self._replica.busy_s, self._replica.max_rows)

    async def run(self, *task: Any) -> AsyncIterator[StageMessage]:
        """Take the time, then answer as the null stage does."""
        answers = [message async for message in self._null.run(*task)]
        with self._meter.image(self._work) as finished:
            async for message in self._replica.run(self._seconds):
                if message["type"] == "done":
                    finished()
                    message["result"] = answers[-1]["result"]
                yield message

    def max_rows(self) -> int:
        """Return how many images are worked on at a time."""
        return self._replica.max_rows

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Offer what the real stages offer."""
        return self._replica.stats() | self._meter.stats()
