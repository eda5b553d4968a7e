"""From simulations to figures and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean, median
from typing import Any

from bench.autoscale.simulator import Job, Outcome, Scenario
from cascade_core.families.stable_cascade import STABLE_CASCADE

SLO_FACTOR = 3.0
"""A job is in time within this many times its latency on an idle machine."""


def is_late(job: Job, scenario: Scenario) -> bool:
    """Return True if a job missed its SLO; a job that never ended has."""
    return not job.ended_s - job.at_s <= SLO_FACTOR * scenario.solo_s(job.kind, job.images)


def figures(outcome: Outcome, scenario: Scenario) -> dict[str, float]:
    """Return the figures of one simulation; oscillations are turns from up to down or back."""
    latencies = sorted(job.ended_s - job.at_s for job in outcome.jobs)
    late = sum(is_late(job, scenario) for job in outcome.jobs)
    hours = (outcome.history[-1][0] - outcome.history[0][0]) / 3600
    return {
        "slo_attainment": 1 - late / len(outcome.jobs),
        "p50_s": _percentile(latencies, 0.50),
        "p95_s": _percentile(latencies, 0.95),
        "p99_s": _percentile(latencies, 0.99),
        "gpu_s": outcome.gpu_s,
        "oscillations_per_hour": sum(_turns(outcome, stage) for stage in STABLE_CASCADE.names)
        / hours,
    }


def averaged(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the means of several simulations, and how far SLO attainment spread."""
    found = {name: mean(run[name] for run in runs) for name in runs[0]}
    found["slo_attainment_worst"] = min(run["slo_attainment"] for run in runs)
    return found


def reaction(outcome: Outcome, scenario: Scenario, step_s: float) -> dict[str, float | None]:
    """Return how fast a policy answered a step of load: seconds from the step.

    ``asked_<stage>_s`` is the first replica more; None if there never was one.
    ``recovered_s`` is the arrival of the last job that was late.
    """
    found: dict[str, float | None] = {}
    for stage in STABLE_CASCADE.names:
        before = [row[stage][0] for at_s, row in outcome.history if at_s < step_s][-1]
        asked = (
            at_s - step_s
            for at_s, row in outcome.history
            if at_s >= step_s and row[stage][0] > before
        )
        found[f"asked_{stage}_s"] = next(asked, None)
    late = [job.at_s for job in outcome.jobs if job.at_s >= step_s and is_late(job, scenario)]
    found["recovered_s"] = max(late) - step_s if late else 0.0
    return found


def table(result: Mapping[str, Any]) -> str:
    """Return the whole result as Markdown."""
    parts = [_trace_table(name, trace) for name, trace in result["traces"].items()]
    parts += [_more_table(result["more"]), _step_table(result["step"])]
    return "\n\n".join([*parts, _large_line(result["large"])])


def _trace_table(name: str, trace: Mapping[str, Any]) -> str:
    serve_gpu_s = trace["policies"]["Serve, defaults"]["gpu_s"]
    lines = [
        f"| {name}: {trace['jobs']} jobs, {trace['images']} images in "
        f"{trace['length_s'] / 3600:.1f} h | in time | p95 | p99 | GPU-hours | of Serve's | "
        "turns per hour |",
        "|---|---|---|---|---|---|---|",
    ]
    for policy, values in trace["policies"].items():
        lines.append(
            f"| {policy} | {values['slo_attainment']:.1%} | {values['p95_s']:.1f} s "
            f"| {values['p99_s']:.1f} s | {values['gpu_s'] / 3600:.1f} "
            f"| {values['gpu_s'] / serve_gpu_s:.2f} | {values['oscillations_per_hour']:.0f} |"
        )
    return "\n".join(lines)


def _more_table(traces: Sequence[Mapping[str, float]]) -> str:
    def spread(name: str, form: str) -> str:
        values = [trace[name] for trace in traces]
        shown = (format(value, form) for value in (median(values), min(values), max(values)))
        return "{} ({}-{})".format(*shown)

    return "\n".join(
        [
            f"| {len(traces)} more traces made like the bursty one, median (least-most) | in time "
            "| GPU-hours of Serve's |",
            "|---|---|---|",
            f"| Serve, defaults | {spread('serve_slo_attainment', '.1%')} | 1.00 |",
            f"| ours | {spread('slo_attainment', '.1%')} | {spread('gpu_ratio', '.2f')} |",
        ]
    )


def _step_table(step: Mapping[str, Any]) -> str:
    lines = [
        f"| step from {step['low']} to {step['high']} images/s | first C asked for | first B "
        "| last late job |",
        "|---|---|---|---|",
    ]
    for policy, values in step["policies"].items():
        asked = [_seconds(values[f"asked_{stage}_s"]) for stage in "cb"]
        lines.append(f"| {policy} | {asked[0]} | {asked[1]} | {_seconds(values['recovered_s'])} |")
    return "\n".join(lines)


def _large_line(large: Mapping[str, Any]) -> str:
    return (
        f"A fleet of {large['most_gpus']:.0f} GPUs, {large['images']} images, a step from "
        f"{large['low']:.0f} to {large['high']:.0f} a second: simulated in "
        f"{large['wall_s']:.0f} s, {large['slo_attainment']:.1%} in time."
    )


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} s"


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _turns(outcome: Outcome, stage: str) -> int:
    targets = [row[stage][0] for _, row in outcome.history]
    steps = [after - before for before, after in pairwise(targets) if after != before]
    return sum((before > 0) != (after > 0) for before, after in pairwise(steps))
