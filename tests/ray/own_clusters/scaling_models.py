"""Two models of different families, at rest by turns; writes which of their stages had replicas.

A process of its own, as an application-level policy needs a cluster of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from bench.autoscale.live import Live, Sample, live_service
from serve.local.fork_server import ForkServer
from serve.local.head_node import lean_head_node
from serve.local.ray_environment import prepare
from serve.settings import Settings
from tests.limits import HANG_S

SMALL: dict[str, Any] = {"prompt": "a large red circle", "seed": 7, "steps": 2}
TURNS = ("demo-flow", "demo", "demo-flow")
"""The models that have a job while the other one rests."""
PHASES = "phases.json"


async def main(live: Live) -> list[dict[str, Any]]:
    """Return, for each turn, how its job ended and the stages that had replicas meanwhile."""
    watching = asyncio.create_task(live.watch())
    phases = []
    async with httpx.AsyncClient(base_url=live.url, timeout=HANG_S) as http:
        await live.seen(watching, is_at_rest, HANG_S)
        for model in TURNS:
            began = len(live.samples)
            job = await ended_job(http, model)
            await live.seen(watching, is_at_rest, HANG_S)
            awake = {key for sample in live.samples[began:] for key in replicas(sample)}
            phases.append({"model": model, "state": job["state"], "awake": sorted(awake)})
    watching.cancel()
    return phases


async def ended_job(http: httpx.AsyncClient, model: str) -> dict[str, Any]:
    """Return a job that the model did, which first starts its replicas."""
    answer = await http.post(
        "/v1/jobs", json=SMALL | {"model": model}, headers={"Prefer": "wait=120"}
    )
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def replicas(sample: Sample) -> set[str]:
    """Return the keys of the stages that have replicas, those on their way up included."""
    return {key for key, count in sample.running.items() if count + sample.starting[key]}


def is_at_rest(sample: Sample) -> bool:
    """Return True if no stage of any model has a replica."""
    return not replicas(sample)


if __name__ == "__main__":
    settings = Settings(
        data_dir=Path(sys.argv[1]),
        http_port=int(sys.argv[2]),
        models="demo,demo-flow",
        device="cpu",
        drain_s=5.0,
    )
    with (
        closing(ForkServer(prepare(settings))),
        lean_head_node(logs_to_driver=False, meanwhile=lambda: None),
        live_service(
            settings,
            floor={},
            hold_s=4,
            import_path="serve.app:build",
            policy="tests.ray.own_clusters.quick_policy:QuickPolicy",
        ) as live,
    ):
        (settings.data_dir / PHASES).write_text(json.dumps(asyncio.run(main(live))))
