"""The cost of a durable job, and how long it is queued in an idle service.

    python -m bench.service.durability

The same three stage calls, with stages that do nothing, once as a job (a recorded workflow, rows,
events and blobs) and once from a plain deployment; both are asked through a handle, in turns.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Any

from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle

from bench.engine.null_stages import NULL_JOB
from bench.null_service import null_service
from bench.service.load import ask, closed_loop, http_session
from bench.stats import machine, milliseconds, percentiles, summary, write_result
from cascade_core.request import GenerationRequest
from serve.gateway.events.event_hub import EventHub
from serve.gateway.idempotency import make_identity
from serve.jobs.dispatch.stage_client import StageClient
from serve.local.running import APP_NAME
from serve.messages import StageMessage
from serve.settings import Settings
from serve.storage.database import Database
from serve.storage.records import JobOwner

REPEATS = 100
POLL_S = 0.025
BUSY_CLIENTS, BUSY_S = 8, 5.0
TARGET_QUEUED_MS = 50
STAGES = {"c": "StageC", "b": "StageB", "a": "StageA"}


class Direct:
    """Calls the stages as a job does, but stores nothing."""

    def __init__(self) -> None:
        self._stages = {
            stage: StageClient(stage, ray_serve.get_deployment_handle(name, APP_NAME))
            for stage, name in STAGES.items()
        }

    async def run(self, request: dict[str, Any]) -> int:
        """Make one image; returns the size of its file."""
        c = await self._stages["c"].call(request, on_message=_ignore)
        b = await self._stages["b"].call(request, c.data, on_message=_ignore)
        a = await self._stages["a"].call(request, b.data, on_message=_ignore)
        return len(a.data)


def main() -> None:
    """Start the service, measure, stop it and write the result."""
    where = machine()
    with null_service() as (running, settings):
        direct = ray_serve.run(
            ray_serve.deployment(
                Direct, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1}
            ).bind(),
            name="direct",
            route_prefix=None,
        )
        queued = asyncio.run(_queued(running.url))
        cost = asyncio.run(_cost(direct, settings))
    result = {"machine": where, "queued_s": queued, **cost}
    write_result("durability", result, _table(result))


async def _queued(url: str) -> dict[str, dict[str, float]]:
    """Measure single jobs, one after another, up to the start of their Stage C."""
    sent_at, created_at, started_at = {}, {}, {}
    async with http_session(url) as session:
        for seed in range(REPEATS + 5):
            sent_at[seed] = time.time()
            body = NULL_JOB | {"seed": seed}
            headers = {"Prefer": "wait=30"}
            job = json.loads(
                await ask(session, "POST", "/v1/jobs", 200, json=body, headers=headers)
            )
            created_at[seed] = datetime.fromisoformat(job["created_at"]).timestamp()
            started_at[seed] = datetime.fromisoformat(job["started_at"]).timestamp()
    stage_c = ray_serve.get_deployment_handle("StageC", APP_NAME)
    begun_at = await stage_c.recent_starts.remote()
    seeds = range(5, REPEATS + 5)  # the first ones open connections
    return {
        "sent_to_stage_c": percentiles([begun_at[seed] - sent_at[seed] for seed in seeds]),
        "accepted_to_stage_c": percentiles([begun_at[seed] - created_at[seed] for seed in seeds]),
        "accepted_to_told": percentiles([started_at[seed] - created_at[seed] for seed in seeds]),
    }


async def _cost(direct: DeploymentHandle, settings: Settings) -> dict[str, Any]:
    jobs = ray_serve.get_deployment_handle("Jobs", APP_NAME)
    request = GenerationRequest(**NULL_JOB, seed=1, decoder_seed=1).to_dict()
    owner = JobOwner(None, None)
    database = Database(settings.database_url)
    hub = EventHub(database, POLL_S)  # Jobs tells only gateways of new events

    async def durable() -> None:
        identity = make_identity({}, owner, None, "")
        job_id = await jobs.submit.remote(request, None, owner, identity, False, {})
        await hub.wait_until_ended(job_id, 60.0)

    async def plain() -> None:
        await direct.run.remote(request)

    flows = {"durable": durable, "plain": plain}
    samples: dict[str, list[float]] = {name: [] for name in flows}
    for turn in range(REPEATS + 5):
        for name, flow in flows.items():
            begun_s = time.perf_counter()
            await flow()
            if turn >= 5:
                samples[name].append(time.perf_counter() - begun_s)
    idle = {name: summary(values) for name, values in samples.items()}
    busy = {}
    for name, flow in flows.items():
        values, took_s = await closed_loop(flow, BUSY_CLIENTS, BUSY_S)
        busy[name] = {"per_s": len(values) / took_s} | percentiles(values)
    await hub.close()
    database.close()
    return {"idle_s": idle, "busy_clients": BUSY_CLIENTS, "busy": busy}


def _ignore(_message: StageMessage) -> None:
    pass


def _table(result: dict[str, Any]) -> str:
    idle, busy = result["idle_s"], result["busy"]
    cost_ms = (idle["durable"]["median"] - idle["plain"]["median"]) * 1e3
    lines = [
        "| one job, null stages | idle, median (p25-p75) "
        f"| {result['busy_clients']} at a time, per second |",
        "|---|---|---|",
        f"| three stage calls, nothing kept | {milliseconds(idle['plain'])} "
        f"| {busy['plain']['per_s']:.0f} |",
        f"| the same as a durable job | {milliseconds(idle['durable'])} "
        f"| {busy['durable']['per_s']:.0f} |",
        f"| durability | {cost_ms:.1f} ms | |",
        "",
        "| single jobs, idle service | p50 | p95 | target |",
        "|---|---|---|---|",
    ]
    labels = {
        "accepted_to_stage_c": "accepted until Stage C starts",
        "accepted_to_told": "accepted until the job says `running`",
        "sent_to_stage_c": "HTTP request sent until Stage C starts",
    }
    for key, label in labels.items():
        values = result["queued_s"][key]
        target = f"<= {TARGET_QUEUED_MS} ms" if key == "accepted_to_stage_c" else ""
        p50, p95 = values["p50"] * 1e3, values["p95"] * 1e3
        lines.append(f"| {label} | {p50:.1f} ms | {p95:.1f} ms | {target} |")
    note = (
        "Asked by handle in the first table, over HTTP in the second. Not measured: PostgreSQL, S3."
    )
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()
