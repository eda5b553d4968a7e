"""One picture at a time: end to end, by stage, by step, and Vary details."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from bench.gpu.timing import Clock, count_waits, in_turns
from bench.gpu.variants import Timed, Variant
from bench.stats import summary
from cascade_core.request import GenerationRequest


def first(variant: Variant, request: GenerationRequest, clock: Clock) -> dict[str, Any]:
    """Warm up and make the first pictures, which may compile, and look at what a later one does.

    Returns:
        Seconds until the first picture; of a later one, on a GPU, how often it waits for the GPU
        and the memory that it takes beside the weights.
    """
    begun_s = time.perf_counter()
    variant.warm_up()
    picture = variant.draw(request)
    found: dict[str, Any] = {"first_s": time.perf_counter() - begun_s}
    variant.vary(as_variation(request), picture.kept)
    if not clock.is_cuda:
        return found
    torch.cuda.reset_peak_memory_stats()
    before_bytes = torch.cuda.memory_allocated()
    waits = count_waits(lambda: variant.draw(request))
    taken_bytes = torch.cuda.max_memory_allocated() - before_bytes
    return found | {"waits": waits, "activation_bytes": taken_bytes}


def measure(
    variants: Mapping[str, Variant], request: GenerationRequest, repeats: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of each variant; all take turns."""
    kept = {name: variant.draw(request).kept for name, variant in variants.items()}
    whole = in_turns({name: partial(v.draw, request) for name, v in variants.items()}, repeats)
    variation = as_variation(request)
    varied = in_turns(
        {name: partial(v.vary, variation, kept[name]) for name, v in variants.items()}, repeats
    )
    return {
        name: _figures(whole[name]) | {"vary_s": summary([one.total_s for one in varied[name]])}
        for name in variants
    }


def as_variation(request: GenerationRequest) -> GenerationRequest:
    """Return the request that draws new details for the same composition."""
    return replace(request, kind="vary_details", latent_id="kept", decoder_seed=2)


def _figures(pictures: list[Timed]) -> dict[str, Any]:
    def by_stage(values: list[dict[str, Any]]) -> dict[str, list[Any]]:
        return {stage: [one[stage] for one in values] for stage in values[0]}

    stages_s = by_stage([one.stages_s for one in pictures])
    steps_s = by_stage([one.steps_s for one in pictures])
    return {
        "total_s": summary([one.total_s for one in pictures]),
        "stages_s": {stage: summary(values) for stage, values in stages_s.items()},
        "steps_s": {
            stage: summary([step for steps in values for step in steps])
            for stage, values in steps_s.items()
            if values[0]
        },
    }
