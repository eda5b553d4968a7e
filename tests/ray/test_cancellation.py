"""A cancelled request frees its replica within one step, and the next one never overlaps it.

A scripted stage writes each step to a file, so that what ran when is a fact and not a guess.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray import serve as ray_serve

from serve.local import Running
from serve.replica import Message, StageReplica
from serve.stage_client import StageClient, StageResult

STEP_S = 0.05


@dataclass
class ScriptedRow:
    """A row that only counts its steps."""

    name: str
    steps: int
    step: int = 0
    bucket: tuple[int, ...] = (1,)


class ScriptedStage:
    """A stage that writes the name of the row it advances, before and after each step."""

    name = "scripted"

    def __init__(self, log: Path) -> None:
        self._log = log

    def admit(self, task: dict[str, Any]) -> ScriptedRow:
        return ScriptedRow(task["name"], task["steps"])

    def advance(self, rows: Sequence[ScriptedRow]) -> None:
        for row in rows:
            self._write(row.name, "begin")
            time.sleep(STEP_S)  # the work itself
            row.step += 1
            self._write(row.name, "end")

    def result(self, row: ScriptedRow) -> bytes:
        return row.name.encode()

    def preview(self, row: ScriptedRow) -> None:
        return None

    def warm_up(self) -> None:
        return None

    def _write(self, name: str, what: str) -> None:
        with self._log.open("a") as file:
            file.write(json.dumps([name, what]) + "\n")


class ScriptedDeployment:
    """The scripted stage behind the real replica and the real handle."""

    def __init__(self, log: str) -> None:
        self._replica = StageReplica(ScriptedStage(Path(log)), max_rows=1)

    async def run(self, task: dict[str, Any]) -> AsyncIterator[Message]:
        async for message in self._replica.run(task):
            yield message


async def ignore(message: Message) -> None:
    return None


async def cancel_then_run_next(client: StageClient) -> StageResult:
    stepping = asyncio.Event()

    async def on_message(message: Message) -> None:
        if message["type"] == "step":
            stepping.set()

    first = asyncio.create_task(client.call({"name": "first", "steps": 200}, on_message=on_message))
    await stepping.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    return await client.call({"name": "next", "steps": 3}, on_message=ignore)


async def test_the_next_request_never_overlaps_a_cancelled_one(
    running: Running, tmp_path: Path
) -> None:
    log = tmp_path / "steps.jsonl"
    deployment = ray_serve.deployment(
        ScriptedDeployment, max_ongoing_requests=4, ray_actor_options={"num_cpus": 0}
    )
    handle = await asyncio.to_thread(
        ray_serve.run, deployment.bind(str(log)), name="scripted", route_prefix="/scripted"
    )
    result = await cancel_then_run_next(StageClient("scripted", handle))
    assert result.data == b"next"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    names = [name for name, _ in entries]
    assert names == ["first"] * names.count("first") + ["next"] * 6
    assert names.count("first") < 2 * 100  # it stopped long before its 200 steps
    assert all(
        entries[i][0] == entries[i + 1][0] and entries[i + 1][1] == "end"
        for i in range(0, len(entries), 2)
    )
    await asyncio.to_thread(ray_serve.delete, "scripted")
