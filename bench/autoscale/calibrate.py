"""The simulator against a live run of the same trace: its p95 should be off by 20% at most.

The live service runs on this machine's Ray with stages of fixed time, see `bench.autoscale.live`.
The simulator is told what can be measured before: the latency of single jobs on the idle service,
and how long replicas take to start.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.autoscale import plot
from bench.autoscale.live import CAP, FLOOR, GPUS, SIZING, Live, Sample, live_service
from bench.autoscale.policies import Ours
from bench.autoscale.simulator import Scenario, simulate
from bench.autoscale.timed_stages import SECONDS
from bench.autoscale.traces import Arrival
from bench.ports import free_port
from bench.service.chaos import scratch_settings
from bench.stats import machine, write_result
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.autoscaling.policy import Sizing

TARGET_ERROR = 0.2
_SOLO_JOBS = 5
_BURST_S, _LENGTH_S, _QUIET_S = 60.0, 90.0, 45.0
_SEEDS = 20


def short_trace(seed: int = 5) -> list[Arrival]:
    """A minute of 0.9 jobs per second, then half a minute of 0.2; one in five varies details."""
    rng, at_s, found = random.Random(seed), 0.0, []
    while at_s < _LENGTH_S:
        at_s += rng.expovariate(0.9 if at_s < _BURST_S else 0.2)
        found.append(Arrival(at_s, rng.choices(("generate", "vary_details"), (4, 1))[0], 1))
    return found


def main() -> None:
    """Run the trace live, then simulate it, and write result and plot."""
    where, arrivals = machine(), short_trace()
    with tempfile.TemporaryDirectory() as folder:
        settings = scratch_settings(Path(folder), port=free_port())
        with live_service(settings) as live:
            solo_s, latencies = asyncio.run(_run(live, arrivals))
    scenario = _scenario(solo_s, live.samples)
    predicted = [_p95(_simulated(arrivals, scenario, seed)) for seed in range(_SEEDS)]
    result: dict[str, Any] = {
        "machine": where,
        "jobs": len(arrivals),
        "solo_s": solo_s,
        "scenario": asdict(scenario),
        "p95_live_s": _p95(latencies),
        "p95_predicted_s": mean(predicted),
        "p50_live_s": median(latencies),
        "p50_predicted_s": median(_simulated(arrivals, scenario, 0)),
        "error": mean(predicted) / _p95(latencies) - 1,
        "most_replicas": {
            stage: max(sample.running[stage] for sample in live.samples)
            for stage in STABLE_CASCADE.names
        },
    }
    plot.write(live.samples)
    write_result("autoscale_live", result, _table(result))


async def _run(live: Live, arrivals: list[Arrival]) -> tuple[float, list[float]]:
    """Return the latency of a job on the idle service, and those of the trace."""
    watching = asyncio.create_task(live.watch())
    alone = [await live.play([Arrival(0.0, "generate", 1)]) for _ in range(_SOLO_JOBS)]
    latencies = await live.play(arrivals)
    await asyncio.sleep(_QUIET_S)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return median(latency for run in alone for latency in run), latencies


def _scenario(solo_s: float, samples: list[Sample]) -> Scenario:
    """Describe the live service: what a job takes beyond its stages is shared out evenly."""
    extra_s = (solo_s - sum(SECONDS.values())) / (len(STABLE_CASCADE.names) + 1)
    started, starting_s = 0, 0.0
    for before, after in pairwise(samples):
        for stage in STABLE_CASCADE.names:
            starting_s += before.starting[stage] * (after.at_s - before.at_s)
            started += max(0, after.running[stage] - before.running[stage])
    start_s = starting_s / max(1, started)
    return Scenario(
        service_s={stage: seconds + extra_s for stage, seconds in SECONDS.items()},
        gpus=GPUS,
        floor=FLOOR,
        cap=CAP,
        start_s=start_s / 2,
        load_median_s=start_s / 2,
        load_p95_s=start_s,
        overhead_s=extra_s,
    )


def _simulated(arrivals: list[Arrival], scenario: Scenario, seed: int) -> list[float]:
    outcome = simulate(arrivals, scenario, Ours(scenario, Sizing(**SIZING)), seed)
    return [job.ended_s - job.at_s for job in outcome.jobs]


def _p95(latencies: list[float]) -> float:
    return sorted(latencies)[int(0.95 * len(latencies))]


def _table(result: dict[str, Any]) -> str:
    most = "/".join(str(result["most_replicas"][stage]) for stage in STABLE_CASCADE.names)
    return "\n".join(
        [
            f"| {result['jobs']} jobs in a burst, up to {most} replicas | live | simulated |",
            "|---|---|---|",
            f"| p50 | {result['p50_live_s']:.1f} s | {result['p50_predicted_s']:.1f} s |",
            f"| p95 | {result['p95_live_s']:.1f} s | {result['p95_predicted_s']:.1f} s |",
            "",
            f"The simulated p95 is {result['error']:+.0%} off; the target is {TARGET_ERROR:.0%}.",
        ]
    )
