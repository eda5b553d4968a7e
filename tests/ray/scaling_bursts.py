"""A wave of variations, then a burst of new pictures, on a live service; writes what it did.

A process of its own, as an application-level policy needs a cluster of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench.autoscale.live import Live, Sample, live_service
from bench.autoscale.traces import Arrival
from serve.autoscaling import STAGES
from serve.settings import Settings

DEADLINE_S = 120.0
PHASES = "phases.json"


async def main(live: Live) -> dict[str, object]:
    """Return the most replicas of each stage in each phase."""
    watching = asyncio.create_task(live.watch())
    phases: dict[str, object] = {}
    for kind in ("vary_details", "generate"):
        began = len(live.samples)
        jobs = asyncio.create_task(live.play([Arrival(0.0, kind, 1)] * 12))
        grows = "b" if kind == "vary_details" else "c"
        await seen(live, watching, lambda sample, stage=grows: sample.running[stage] > 1)
        await jobs
        phases[kind] = most(live.samples[began:])
    await seen(live, watching, is_small)
    watching.cancel()
    return phases


async def seen(
    live: Live, watching: asyncio.Task[None], condition: Callable[[Sample], bool]
) -> None:
    """Return when a new sample meets the condition."""
    async with asyncio.timeout(DEADLINE_S):
        count = len(live.samples)
        while not any(map(condition, live.samples[count:])):
            if watching.done():
                watching.result()
            count = len(live.samples)
            await asyncio.sleep(0.2)


def is_small(sample: Sample) -> bool:
    """Tell whether all stages are at one replica again."""
    return all(sample.running[stage] == 1 and not sample.starting[stage] for stage in STAGES)


def most(samples: list[Sample]) -> dict[str, int]:
    """Return the most replicas of each stage, those on their way up included."""
    return {
        stage: max(sample.running[stage] + sample.starting[stage] for sample in samples)
        for stage in STAGES
    }


if __name__ == "__main__":
    settings = Settings(
        data_dir=Path(sys.argv[1]),
        http_port=int(sys.argv[2]),
        device="cpu",
        drain_s=5.0,
        reuse_latents=False,
    )
    with live_service(settings) as live:
        (settings.data_dir / PHASES).write_text(json.dumps(asyncio.run(main(live))))
