"""Autoscaling policies against each other, simulated.

    python -m bench.autoscale                              # the traces of this repository
    python -m bench.autoscale --gentd26 lora_request_trace.csv
    python -m bench.autoscale --calibrate                  # the simulator against a live run
    python -m bench.autoscale --wake                       # live: to zero and back

The same policy code as in Ray Serve, Serve's own default policy, and the cheapest fixed fleet, with
random cold starts as in the trace GenTD26. Service times are estimates for an H100 at 1024 px.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.autoscale import calibrate, wake
from bench.autoscale.policies import Ours, ServeDefault, Static
from bench.autoscale.report import averaged, figures, reaction, table
from bench.autoscale.simulator import Policy, Scenario, simulate
from bench.autoscale.traces import (
    GENERATED,
    TRACES_DIR,
    Arrival,
    generate,
    read_gentd26,
    read_trace,
    step,
)
from bench.stats import machine, write_result
from serve.autoscaling.policy import Sizing

FLEET = Scenario(
    service_s={"c": 0.44, "b": 0.25, "a": 0.03},
    gpus={"c": 1.0, "b": 1.0, "a": 0.0},
    floor={"c": 1, "b": 1, "a": 1},
    cap={"c": 16, "b": 10, "a": 2},
)
GPU_BUDGET = 26.0
TARGET_ATTAINMENT = 0.97
MORE_SEEDS = range(11, 31)
OURS, SERVES = "ours", "Serve, defaults"
Policies = dict[str, Callable[[], Policy]]


def main() -> None:
    """Simulate, or calibrate, and write the result."""
    arguments = _arguments()
    warnings.filterwarnings("ignore", module="ray", category=DeprecationWarning)
    if arguments.calibrate:
        calibrate.main()
        return
    if arguments.wake:
        wake.main()
        return
    result: dict[str, Any] = {"machine": machine(), "scenario": asdict(FLEET), "traces": {}}
    for name, arrivals in _traces(arguments.gentd26):
        result["traces"][name] = _compare(arrivals, arguments.seeds)
    result["more"] = _more()
    result["step"] = _step()
    result["large"] = _large()
    write_result("autoscale", result, table(result))


def _policies() -> Policies:
    tuned = {"metrics_interval_s": 1, "look_back_period_s": 5}
    return {
        SERVES: lambda: ServeDefault(FLEET),
        "Serve, delays 5 s and 120 s": lambda: ServeDefault(
            FLEET, upscale_delay_s=5, downscale_delay_s=120, **tuned
        ),
        "Serve, target 1, delays 2 s and 300 s": lambda: ServeDefault(
            FLEET, target_ongoing_requests=1, upscale_delay_s=2, downscale_delay_s=300, **tuned
        ),
        OURS: lambda: Ours(FLEET, Sizing(GPU_BUDGET, FLEET.gpus)),
    }


def _traces(gentd26: Path | None) -> Iterator[tuple[str, list[Arrival]]]:
    for name in ("bursty", "gentle"):
        yield name, read_trace(TRACES_DIR / f"{name}.csv")
    if gentd26 is not None:
        yield "GenTD26, 2-5 Dec 2024, 24x", read_gentd26(gentd26, "2024-12-02", 4, 24)
        yield "GenTD26, 25-28 Nov 2024, 24x", read_gentd26(gentd26, "2024-11-25", 4, 24)
        yield "GenTD26, 2 Dec 2024, 6x", read_gentd26(gentd26, "2024-12-02", 1, 6)


def _more() -> list[dict[str, float]]:
    """Compare with Serve's defaults on traces made like the bursty one, that nothing was tuned on.

    Returns:
        of each trace what share of jobs is in time, with ours and with Serve's, and GPU-hours over
        Serve's.
    """
    found = []
    for seed in MORE_SEEDS:
        arrivals = generate(GENERATED["bursty"][0], seed)
        ours, serves = (_figures(arrivals, _policies()[name](), 0) for name in (OURS, SERVES))
        found.append(
            {
                "seed": seed,
                "slo_attainment": ours["slo_attainment"],
                "serve_slo_attainment": serves["slo_attainment"],
                "gpu_ratio": ours["gpu_s"] / serves["gpu_s"],
            }
        )
    return found


def _compare(arrivals: list[Arrival], seeds: int) -> dict[str, Any]:
    policies = {
        name: averaged([_figures(arrivals, make(), seed) for seed in range(seeds)])
        for name, make in _policies().items()
    }
    replicas = _best_static(arrivals)
    name = f"fixed {replicas['c']}/{replicas['b']}/{replicas['a']}, the cheapest in time"
    policies[name] = averaged([_figures(arrivals, Static(replicas), 0, _fixed(replicas))])
    return {
        "jobs": len(arrivals),
        "images": sum(arrival.images for arrival in arrivals),
        "length_s": arrivals[-1].at_s,
        "policies": policies,
    }


def _figures(
    arrivals: list[Arrival], policy: Policy, seed: int, scenario: Scenario = FLEET
) -> dict[str, float]:
    return figures(simulate(arrivals, scenario, policy, seed), scenario)


def _fixed(replicas: dict[str, int]) -> Scenario:
    return Scenario(FLEET.service_s, FLEET.gpus, floor=replicas, cap=replicas)


def _best_static(arrivals: list[Arrival]) -> dict[str, int]:
    """Return the cheapest fixed fleet in time, C first; the largest if none is."""
    replicas = dict(FLEET.cap)
    for stage in ("c", "b"):
        low, high = 1, FLEET.cap[stage]
        while low < high:
            middle = (low + high) // 2
            tried = replicas | {stage: middle}
            found = _figures(arrivals, Static(tried), 0, _fixed(tried))
            if found["slo_attainment"] >= TARGET_ATTAINMENT:
                high = middle
            else:
                low = middle + 1
        replicas[stage] = high
    return replicas


def _step() -> dict[str, Any]:
    low, high, at_s = 0.3, 5.0, 900.0
    arrivals = step(low, high, at_s, length_s=1800.0)
    found = {
        name: reaction(simulate(arrivals, FLEET, make()), FLEET, at_s)
        for name, make in _policies().items()
    }
    return {"low": low, "high": high, "policies": found}


def _large() -> dict[str, Any]:
    scenario = Scenario(
        FLEET.service_s,
        FLEET.gpus,
        floor={"c": 300, "b": 200, "a": 20},
        cap={"c": 700, "b": 500, "a": 50},
    )
    low, high = 400.0, 900.0
    arrivals = step(low, high, 60.0, length_s=240.0)
    policy = Ours(scenario, Sizing(1000.0, scenario.gpus))
    started_s = time.perf_counter()
    outcome = simulate(arrivals, scenario, policy)
    wall_s = time.perf_counter() - started_s
    gpus = (row["c"][0] + row["b"][0] for _, row in outcome.history)
    found = {"low": low, "high": high, "images": len(arrivals)}
    found |= {"wall_s": wall_s, "most_gpus": max(gpus)}
    return found | figures(outcome, scenario)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs with other random cold starts")
    parser.add_argument("--gentd26", type=Path, help="lora_request_trace.csv of that trace")
    parser.add_argument("--calibrate", action="store_true", help="compare with a live run")
    parser.add_argument(
        "--wake", action="store_true", help="scale stages to zero and start them again"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
