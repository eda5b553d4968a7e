"""A job for a service at rest, a wave of variations, a burst of new pictures; writes what it did.

A process of its own, as an application-level policy needs a cluster of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import closing
from pathlib import Path

from bench.autoscale.live import Live, Sample, live_service
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.local.fork_server import ForkServer
from serve.local.head_node import lean_head_node
from serve.local.ray_environment import prepare
from serve.settings import Settings

DEADLINE_S = 280.0
JOBS = 16
"""Open at a time in a wave, which lasts until a replica more runs."""
PHASES = "phases.json"


async def main(live: Live) -> dict[str, object]:
    """Return the most replicas of each stage in each phase; at rest, before any job, too."""
    watching = asyncio.create_task(live.watch())
    await live.seen(watching, lambda _sample: True, DEADLINE_S)
    phases: dict[str, object] = {"rest": most(live.samples)}
    for kind in ("vary_details", "generate"):
        began, grows = len(live.samples), "b" if kind == "vary_details" else "c"

        def has_grown(sample: Sample, stage: str = grows) -> bool:
            return sample.running[stage] > 1

        seen = asyncio.create_task(live.seen(watching, has_grown, DEADLINE_S))
        await live.keep_open(kind, JOBS, until=seen)
        await seen
        phases[kind] = most(live.samples[began:])
        await live.seen(watching, is_small, DEADLINE_S)
    watching.cancel()
    return phases


def is_small(sample: Sample) -> bool:
    """Return True if all stages are at one replica again."""
    return all(
        sample.running[stage] == 1 and not sample.starting[stage] for stage in STABLE_CASCADE.names
    )


def most(samples: list[Sample]) -> dict[str, int]:
    """Return the most replicas of each stage, those on their way up included."""
    return {
        stage: max(sample.running[stage] + sample.starting[stage] for sample in samples)
        for stage in STABLE_CASCADE.names
    }


if __name__ == "__main__":
    settings = Settings(
        data_dir=Path(sys.argv[1]),
        http_port=int(sys.argv[2]),
        device="cpu",
        drain_s=5.0,
        reuse_latents=False,
    )
    with (
        # As `cascade up` does: each of the many replicas would import the same for seconds.
        closing(ForkServer(prepare(settings))),
        lean_head_node(logs_to_driver=False, meanwhile=lambda: None),
        live_service(settings, floor=dict.fromkeys(STABLE_CASCADE.names, 0), hold_s=4) as live,
    ):
        (settings.data_dir / PHASES).write_text(json.dumps(asyncio.run(main(live))))
