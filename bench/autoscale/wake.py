"""Scale to zero, live: stages without work stop, and the next job starts those that it needs.

The real stages with the demo model, every floor at 0. A replica's start is its process, its imports
and its weights here; on a cluster a node and an image may come on top.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import aconnect_sse

from bench.autoscale.live import Live, Sample, live_service
from bench.ports import free_port
from bench.service.chaos import scratch_settings
from bench.stats import machine, write_result
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.families.stage_info import deployment_name
from serve.autoscaling.policy import RATE_WINDOWS_S

HOLD_S = 15.0
_DEADLINE_S = RATE_WINDOWS_S[-1] + HOLD_S + 120.0
_COLUMNS = ("c", "b", "succeeded")
_PROMPT = {"prompt": "a large red circle in the center on a white background", "seed": 1}


def main() -> None:
    """Run it and write the result; takes a little longer than the policy's longest window."""
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        settings = scratch_settings(Path(folder), port=free_port())
        floor = dict.fromkeys(STABLE_CASCADE.names, 0)
        with live_service(
            settings, floor=floor, hold_s=HOLD_S, import_path="serve.app:build"
        ) as live:
            result = {"machine": where, "hold_s": HOLD_S} | asyncio.run(_run(live))
    write_result("autoscale_wake", result, _table(result))


async def _run(live: Live) -> dict[str, Any]:
    watching = asyncio.create_task(live.watch())
    async with httpx.AsyncClient(base_url=live.url, timeout=_DEADLINE_S) as http:
        await live.seen(watching, _is_at_rest, _DEADLINE_S)
        jobs = {"first": await _job(http, _PROMPT), "awake": await _job(http, _PROMPT)}
        to_zero_s = await live.seen(watching, _is_at_rest, _DEADLINE_S)
        latent_id = jobs["awake"]["latent_id"]
        jobs["vary"] = await _job(http, {"kind": "vary_details", "latent_id": latent_id})
        jobs["generate"] = await _job(http, _PROMPT)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return {"to_zero_s": to_zero_s, "jobs": jobs}


def _is_at_rest(sample: Sample) -> bool:
    return not any(
        sample.running[stage] or sample.starting[stage] for stage in STABLE_CASCADE.names
    )


async def _job(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """Make a job; returns what it was told at once, and the seconds to each of its events."""
    began_s = time.monotonic()
    accepted = (await http.post("/v1/jobs", json=body)).raise_for_status().json()
    told = {name: accepted[name] for name in ("state", "position", "eta_s")}
    status = (await http.get("/v1/status")).raise_for_status().json()
    told |= {
        "replicas": {
            stage: status["replicas"][deployment_name(stage)] for stage in STABLE_CASCADE.names
        }
    }
    at_s: dict[str, float] = {}
    async with aconnect_sse(http, "GET", f"/v1/jobs/{accepted['id']}/events") as source:
        async for event in source.aiter_sse():
            data = json.loads(event.data) if event.data else {}
            at_s.setdefault(data.get("stage") or event.event, time.monotonic() - began_s)
    if "succeeded" not in at_s:
        raise RuntimeError(f"job {accepted['id']} did not succeed")
    ended = (await http.get(f"/v1/jobs/{accepted['id']}")).json()
    latent_id = ended["images"][0]["latent_id"]
    return {"told": told, "at_s": at_s, "latent_id": latent_id}


def _table(result: dict[str, Any]) -> str:
    rows = {
        "awake": "a new picture, a replica of each stage runs",
        "first": "a new picture, none runs",
        "vary": "Vary details, none runs",
        "generate": "a new picture after that, of C none runs",
    }
    lines = [
        "| one job, demo model | C at work after | B at work after | done after |",
        "|---|---|---|---|",
    ]
    for name, words in rows.items():
        at_s = result["jobs"][name]["at_s"]
        c, b, done = (f"{at_s[key]:.1f} s" if key in at_s else "never" for key in _COLUMNS)
        lines.append(f"| {words} | {c} | {b} | {done} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Without work, every stage was at zero replicas after {result['to_zero_s']:.0f} s "
            f"(`hold_s: {result['hold_s']:g}`). When Vary details was done, "
            f"{result['jobs']['generate']['told']['replicas']['c']} replicas of Stage C ran.",
        ]
    )
