"""Stages that take a fixed time per image, with the engine and the figures of the real ones."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.engine.null_stages import NULL_JOB, NullStage, NullStageC
from cascade_core.request import GenerationRequest
from serve.messages import StageMessage
from serve.settings import Settings
from serve.stages.replica import StageReplica
from serve.stages.work_meter import WorkMeter
from serve.workload import stage_work

SECONDS = {"c": 1.6, "b": 0.8, "a": 0.5}
TIMED_JOB: dict[str, Any] = NULL_JOB | {
    "steps": 2,
    "guidance_scale": 1.0,
    "decoder_steps": 1,
    "decoder_guidance_scale": 1.0,
}


def timed_work(stage: str) -> float:
    """Return the work of one image of ``TIMED_JOB``."""
    return stage_work(stage, GenerationRequest(**TIMED_JOB, seed=0, decoder_seed=0))


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


class _Timed:
    """One stage as a deployment.

    Args:
        stage: ``c``, ``b`` or ``a``.
        null: gives the answers.
    """

    def __init__(self, stage: str, null: NullStageC | NullStage) -> None:
        self._null = null
        self._seconds = SECONDS[stage]
        self._work = timed_work(stage)
        self._replica = StageReplica(_Sleep(stage), max_rows=1)
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


class TimedStageC(_Timed):
    """Stage C."""

    def __init__(self, settings: Settings, _gpu_share: float | None = None) -> None:
        super().__init__("c", NullStageC(settings))


class TimedStageB(_Timed):
    """Stage B."""

    def __init__(self, settings: Settings, _gpu_share: float | None = None) -> None:
        super().__init__("b", NullStage(settings))


class TimedStageA(_Timed):
    """Stage A."""

    def __init__(self, settings: Settings, _gpu_share: float | None = None) -> None:
        super().__init__("a", NullStage(settings))
