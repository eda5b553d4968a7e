"""A stage that follows a script and writes each step to a file, behind the real replica."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_core.errors import CascadeError, from_dict
from serve.messages import StageMessage
from serve.stages.replica import StageReplica

STEP_S = 0.05


@dataclass
class ScriptedRow:
    """A row that only counts its steps."""

    name: str
    steps: int
    dies: bool = False
    breaks: bool = False
    step: int = 0
    bucket: tuple[int, ...] = (1,)


class ScriptedStage:
    """Writes the name of the row it advances before and after each step; may fail on demand."""

    name = "scripted"

    def __init__(self, log: Path) -> None:
        self._log = log

    def admit(self, task: dict[str, Any]) -> ScriptedRow:
        tries = entries(self._log).count((task["name"], "admit"))
        self._write(task["name"], "admit")
        if tries < task.get("failures", 0):
            raise self._error(task)
        broken = sum(what == "broken" for _, what in entries(self._log))
        return ScriptedRow(
            task["name"],
            task["steps"],
            dies=task.get("dies", False),
            breaks=broken < task.get("breaks", 0),
        )

    def advance(self, rows: Sequence[ScriptedRow]) -> None:
        for row in rows:
            self._write(row.name, "begin")
            # Not in the first step: Serve itself sends a request again that its replica has not yet
            # confirmed, and Jobs does not learn of that death.
            if row.dies and row.step == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if row.breaks:
                self._write(row.name, "broken")
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            time.sleep(STEP_S)  # the work itself
            row.step += 1
            self._write(row.name, "end")

    def result(self, row: ScriptedRow) -> bytes:
        return row.name.encode()

    def preview(self, row: ScriptedRow) -> None:
        return None

    def warm_up(self) -> None:
        return None

    def free_memory(self) -> None:
        return None

    def _error(self, task: dict[str, Any]) -> CascadeError:
        return from_dict({"code": task["code"], "message": "as the script says"})

    def _write(self, name: str, what: str) -> None:
        with self._log.open("a") as file:
            file.write(json.dumps([name, what]) + "\n")


class ScriptedDeployment:
    """The scripted stage as a deployment."""

    def __init__(self, log: str) -> None:
        self._replica = StageReplica(ScriptedStage(Path(log)), max_rows=1)

    async def run(self, task: dict[str, Any], *_context: Any) -> AsyncIterator[StageMessage]:
        async for message in self._replica.run(task):
            yield message

    def check_health(self) -> None:
        self._replica.check_health()


def entries(log: Path) -> list[tuple[str, str]]:
    """Return what the stage wrote: (row's name, what happened)."""
    if not log.exists():
        return []
    pairs = [json.loads(line) for line in log.read_text().splitlines()]
    return [(name, what) for name, what in pairs]
