"""Rows with different steps, guidance and seeds that share batches, against the same rows alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cascade_core.handoff import StageCLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.stage_b import StageBTask
from cascade_core.stages.stage_c import StageCTask

TOLERANCE = 1e-4
"""Of a latent; one step differs by 1e-6 of its size, and later steps add to it."""
TICKS_BETWEEN_JOINS = 2

_BASE = GenerationRequest(prompt="a red cat", width=256, height=256, seed=1, decoder_seed=11)
MIXED = (
    replace(_BASE, steps=20, guidance_scale=4.0, decoder_steps=4),
    replace(
        _BASE, steps=7, guidance_scale=0.0, decoder_steps=10, decoder_guidance_scale=1.1, seed=2
    ),
    replace(
        _BASE,
        prompt="42 hats",
        negative_prompt="dogs",
        steps=12,
        guidance_scale=5.3,
        decoder_steps=7,
        decoder_guidance_scale=2.0,
        seed=3,
        decoder_seed=33,
    ),
    replace(_BASE, prompt="", steps=1, guidance_scale=1.0, decoder_steps=1, seed=4),
)


def run_staggered(stage: Any, tasks: Iterable[Any]) -> list[Any]:
    """Run tasks together; one more joins every second step, each leaves when it is done."""
    waiting, running, rows, ticks = list(tasks), [], [], 0
    while waiting or running:
        if waiting and ticks % TICKS_BETWEEN_JOINS == 0:
            running.append(stage.admit(waiting.pop(0)))
            rows.append(running[-1])
        running = [row for row in running if row.step < row.steps]
        if running:
            stage.advance(running)
        ticks += 1
    return [stage.result(row) for row in rows]


def run_alone(stage: Any, task: Any) -> Any:
    row = stage.admit(task)
    while row.step < row.steps:
        stage.advance([row])
    return stage.result(row)


def largest_difference(one: Any, other: Any) -> float:
    return float(np.abs(one.latents_chw.array - other.latents_chw.array).max())


def test_stage_c_rows_do_not_depend_on_their_neighbours(tiny_pipeline: CascadePipeline) -> None:
    together = run_staggered(tiny_pipeline.stages["c"], map(StageCTask, MIXED))
    for request, latent in zip(MIXED, together, strict=True):
        assert latent.request == request
        alone = run_alone(tiny_pipeline.stages["c"], StageCTask(request))
        assert largest_difference(latent, alone) < TOLERANCE
        assert np.array_equal(latent.pooled.array, alone.pooled.array)


def test_stage_b_rows_do_not_depend_on_their_neighbours(tiny_pipeline: CascadePipeline) -> None:
    tasks = [_b_task(tiny_pipeline, request) for request in MIXED]
    together = run_staggered(tiny_pipeline.stages["b"], tasks)
    for task, latent in zip(tasks, together, strict=True):
        assert latent.request == task.request
        assert largest_difference(latent, run_alone(tiny_pipeline.stages["b"], task)) < TOLERANCE


def test_pixels_of_a_batch_are_within_one_level_of_the_same_requests_alone(
    tiny_pipeline: CascadePipeline,
) -> None:
    latents = run_staggered(tiny_pipeline.stages["c"], map(StageCTask, MIXED))
    tasks = [StageBTask(latent, request) for latent, request in zip(latents, MIXED, strict=True)]
    details = run_staggered(tiny_pipeline.stages["b"], tasks)
    pictures = run_staggered(tiny_pipeline.stages["a"], details)
    for request, pixels in zip(MIXED, pictures, strict=True):
        alone = tiny_pipeline.run(request).pixels_hwc
        assert np.abs(pixels.astype(int) - alone.astype(int)).max() <= 1


def test_a_row_without_guidance_takes_no_unconditional_row(tiny_pipeline: CascadePipeline) -> None:
    rows_per_call: list[int] = []
    prior = tiny_pipeline.stages["c"]._unet

    def count(_: Any, arguments: tuple[Any, ...]) -> None:
        rows_per_call.append(len(arguments[0]))

    hook = prior.register_forward_pre_hook(count)
    try:
        rows = [tiny_pipeline.stages["c"].admit(StageCTask(request)) for request in MIXED]
        tiny_pipeline.stages["c"].advance(rows)
        tiny_pipeline.stages["c"].advance(rows[1:2])
    finally:
        hook.remove()
    assert rows_per_call == [len(MIXED) + 2, 1]


def test_the_order_of_rows_in_a_batch_does_not_matter(tiny_pipeline: CascadePipeline) -> None:
    forward = [tiny_pipeline.stages["c"].admit(StageCTask(request)) for request in MIXED]
    backward = [tiny_pipeline.stages["c"].admit(StageCTask(request)) for request in MIXED]
    tiny_pipeline.stages["c"].advance(forward)
    tiny_pipeline.stages["c"].advance(backward[::-1])
    for one, other in zip(forward, backward, strict=True):
        assert torch.allclose(one.latents_bchw, other.latents_bchw, atol=TOLERANCE)


def _b_task(pipeline: CascadePipeline, request: GenerationRequest) -> StageBTask:
    latent: StageCLatent = run_alone(pipeline.stages["c"], StageCTask(replace(request, steps=2)))
    return StageBTask(latent, request)
