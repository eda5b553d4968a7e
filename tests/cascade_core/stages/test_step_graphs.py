"""Steps that are replayed from recordings; what records here runs the same work again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import SettingsInvalid
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.sampling.step_tables import CosineSchedule
from cascade_core.stages import unet_steps
from cascade_core.stages.base import Preparation
from cascade_core.stages.stage_b import StageB, StageBTask
from cascade_core.stages.stage_c import StageC, StageCTask
from cascade_core.stages.step_graphs import Recording, StepGraphs

REQUEST = GenerationRequest(
    prompt="a red cat",
    width=384,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=5,
    guidance_scale=3.0,
    decoder_steps=5,
    decoder_guidance_scale=0.0,
)
JOINING = {
    0: [REQUEST, replace(REQUEST, steps=2, decoder_steps=2, guidance_scale=0.0, seed=3)],
    3: [replace(REQUEST, prompt="42 hats", decoder_seed=4, steps=3, decoder_steps=3)],
}
"""Requests by the turn in which they join; the second one has left when the third one joins."""
AMPLE = 10**9


@dataclass
class Memory:
    """What the recordings of all recorders take, a byte for each row, and their replays."""

    outputs: list[weakref.ref[torch.Tensor]] = field(default_factory=list)
    replays: int = 0


class Repeater:
    """Runs recorded work again, on the tensors that it was recorded with."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def record(self, work: Callable[[], torch.Tensor]) -> Recording:
        output = work()
        self._memory.outputs.append(weakref.ref(output))

        def replay() -> None:
            self._memory.replays += 1
            output.copy_(work())

        return Recording(replay, output)

    def used_bytes(self) -> int:
        return sum(len(found) for one in self._memory.outputs if (found := one()) is not None)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    monkeypatch.setattr(unet_steps, "recorders", lambda _device: partial(Repeater, memory))
    return memory


@pytest.fixture
def make_c(tiny_checkpoint: Checkpoint, tiny_pipeline: CascadePipeline) -> Callable[[], StageC]:
    loaded: Any = tiny_pipeline.stages["c"]
    parts = (loaded._unet, loaded._text, CosineSchedule(), None)
    return lambda: StageC(tiny_checkpoint, *parts)


@pytest.fixture
def make_b(tiny_checkpoint: Checkpoint, tiny_pipeline: CascadePipeline) -> Callable[[], StageB]:
    loaded: Any = tiny_pipeline.stages["b"]
    return lambda: StageB(tiny_checkpoint, loaded._unet, CosineSchedule(), None)


def recorded(stage: Any, max_rows: int = 2, graph_bytes: int = AMPLE) -> Any:
    """Return the stage, warmed up with recordings of the size of all requests here."""
    stage.prepare(Preparation(((384, 256),), max_rows, graph_bytes=graph_bytes))
    stage.warm_up()
    return stage


def run(stage: Any, tasks_by_turn: dict[int, list[Any]]) -> list[list[torch.Tensor]]:
    """Return the latents of every row after each of its steps; rows join and leave."""
    rows: list[Any] = []
    latents: list[list[torch.Tensor]] = []
    for turn in range(9):
        for task in tasks_by_turn.get(turn, []):
            rows.append(stage.admit(task))
            latents.append([])
        left = [row for row in rows if row.step < row.steps]
        if left:
            stage.advance(left)
        for row, seen in zip(rows, latents, strict=True):
            if row in left:
                seen.append(row.latents_bchw)
    assert [len(seen) for seen in latents] == [row.steps for row in rows]
    return latents


def are_equal(found: list[list[torch.Tensor]], expected: list[list[torch.Tensor]]) -> bool:
    return all(
        torch.equal(one, other)
        for row, expected_row in zip(found, expected, strict=True)
        for one, other in zip(row, expected_row, strict=True)
    )


def test_replayed_steps_of_stage_c_are_those_without_graphs_while_rows_join_and_leave(
    make_c: Callable[[], StageC], memory: Memory
) -> None:
    tasks: dict[int, list[Any]] = {
        turn: [StageCTask(request) for request in requests] for turn, requests in JOINING.items()
    }
    expected = run(make_c(), tasks)
    assert memory.replays == 0
    assert are_equal(run(recorded(make_c()), tasks), expected)
    assert memory.replays == 6


def test_replayed_steps_of_stage_b_are_those_without_graphs_while_rows_join_and_leave(
    make_b: Callable[[], StageB], make_c: Callable[[], StageC], memory: Memory
) -> None:
    composer = make_c()

    def task(request: GenerationRequest) -> StageBTask:
        row = composer.admit(StageCTask(request))
        composer.advance([row])
        return StageBTask(composer.result(row), request)

    tasks: dict[int, list[Any]] = {
        turn: [task(request) for request in requests] for turn, requests in JOINING.items()
    }
    expected = run(make_b(), tasks)
    assert are_equal(run(recorded(make_b()), tasks), expected)
    assert memory.replays == 6


def test_a_size_that_was_not_prepared_runs_without_graphs(
    make_c: Callable[[], StageC], memory: Memory
) -> None:
    other = {0: [StageCTask(replace(REQUEST, width=256))]}
    assert are_equal(run(recorded(make_c()), other), run(make_c(), other))
    assert memory.replays == 0


def test_more_rows_than_were_prepared_run_without_graphs(
    make_c: Callable[[], StageC], memory: Memory
) -> None:
    tasks = {0: [StageCTask(replace(REQUEST, seed=seed)) for seed in (1, 2)]}
    assert are_equal(run(recorded(make_c(), max_rows=1), tasks), run(make_c(), tasks))
    assert memory.replays == 0


@pytest.mark.usefixtures("memory")
def test_a_prediction_outlives_the_next_replay(make_c: Callable[[], StageC]) -> None:
    stage = recorded(make_c())
    # With guidance it is computed anew from two predictions.
    requests = [replace(REQUEST, guidance_scale=0.0, seed=seed) for seed in (1, 2)]
    rows = [stage.admit(StageCTask(request)) for request in requests]
    stage.advance(rows[:1])
    kept = rows[0].last.noise_bchw
    before = kept.clone()
    stage.advance(rows[1:])
    assert torch.equal(kept, before)
    assert not torch.equal(kept, rows[1].last.noise_bchw)


@torch.inference_mode()
def test_conditioning_of_another_length_runs_without_graphs(
    make_c: Callable[[], StageC], memory: Memory
) -> None:
    stage = recorded(make_c())
    row = stage.admit(StageCTask(REQUEST))
    shorter = replace(row.cond, context=row.cond.context[:, :-3])
    inputs = (row.latents_bchw, row.table.times_st[:1], [shorter])
    assert torch.equal(stage._steps._graphs(*inputs), stage._unet(*inputs))
    assert memory.replays == 0


@torch.inference_mode()
@pytest.mark.parametrize(
    ("limit_bytes", "numbers"), [(10, [4, 3, 2, 1]), (9, [4, 3, 2]), (5, [4, 1]), (3, [3]), (0, [])]
)
def test_recordings_that_exceed_the_memory_are_dropped(
    limit_bytes: int, numbers: list[int], make_c: Callable[[], StageC], memory: Memory
) -> None:
    stage: Any = make_c()
    graphs = StepGraphs(stage._unet, partial(Repeater, memory), limit_bytes)
    row = stage.admit(StageCTask(REQUEST))
    assert graphs.record(row, 4) == numbers
    assert Repeater(memory).used_bytes() == sum(numbers) <= limit_bytes
    one = (row.latents_bchw, row.table.times_st[:1], row.cond)
    for rows in range(1, 5):
        latents, times = torch.cat([one[0]] * rows), torch.cat([one[1]] * rows)
        assert torch.equal(
            graphs(latents, times, [one[2]] * rows), stage._unet(latents, times, [one[2]] * rows)
        )
    assert memory.replays == len(numbers)


@torch.inference_mode()
def test_all_sizes_share_the_memory(make_c: Callable[[], StageC], memory: Memory) -> None:
    stage: Any = make_c()
    graphs = StepGraphs(stage._unet, partial(Repeater, memory), 4)
    assert graphs.record(stage.admit(StageCTask(REQUEST)), 2) == [2, 1]
    assert graphs.record(stage.admit(StageCTask(replace(REQUEST, width=256))), 2) == [1]


def test_graphs_are_refused_on_a_cpu(
    make_c: Callable[[], StageC], make_b: Callable[[], StageB]
) -> None:
    for stage in (make_c(), make_b()):
        with pytest.raises(SettingsInvalid, match=r"CUDA graphs need a GPU, .* computes on cpu"):
            stage.prepare(Preparation(((256, 256),), graph_bytes=1))
