"""A stage that takes its time and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cascade_core.handoff import StageBLatent
from cascade_core.stages.base import StageDefaults
from serve.stages.replica import PROGRESS_INTERVAL_S


@dataclass
class TouchUpRow:
    """A latent on its way through."""

    latent: StageBLatent
    step: int = 0
    steps: int = 1
    bucket: tuple[int, ...] = (1,)


class TouchUp(StageDefaults):
    """Returns Stage B's latent as it is."""

    name = "touch"

    @classmethod
    def load(cls, *_: Any, **__: Any) -> TouchUp:
        return cls()

    @staticmethod
    def make_task(source: StageBLatent, _request: Any) -> StageBLatent:
        return source

    def admit(self, task: StageBLatent) -> TouchUpRow:
        return TouchUpRow(task)

    def advance(self, rows: Sequence[TouchUpRow]) -> None:
        time.sleep(PROGRESS_INTERVAL_S)  # quicker steps are not reported
        for row in rows:
            row.step += 1

    def result(self, row: TouchUpRow) -> StageBLatent:
        return row.latent

    def preview(self, row: TouchUpRow) -> None:
        return None

    def warm_up(self) -> None:
        return None

    def free_memory(self) -> None:
        return None
