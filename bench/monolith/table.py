"""The comparison as tables in Markdown."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

DEMO: Final = "the demo model"
DISPATCH: Final = "a dispatch-bound model"
OURS: Final = "Cascade Serve"
PLAIN: Final = "Ray Serve around diffusers' pipeline"
BATCHED: Final = "the same, @serve.batch"
LITSERVE: Final = "LitServe around it, batching"
LOAD: Final = 0.9
"""Part of what the plain server can do, at which requests come at random."""
SLO_OVER_SOLO: Final = 3
TARGETS: Final = {"throughput": 2.5, "p95": 0.35, "slo": 0.95}

NOTE: Final = (
    f"Targets for the dispatch-bound model: {TARGETS['throughput']}x the pictures of the plain "
    f"server at 16 clients; p95 at most {TARGETS['p95']}x its own and {TARGETS['slo']:.0%} in "
    f"time, at {LOAD} of what it can do. Solo is the plain server's own. The dispatch-bound model "
    "has random weights, as many blocks as the published U-Nets and few channels. One replica and "
    "one torch thread each, so three stages may use both cores; up to 16 rows a step. Cascade "
    "Serve's requests are durable jobs, the others' are lost with their process. Not measured: a "
    "GPU; a model so large that rows do not share a step for less."
)


def table(result: dict[str, Any]) -> str:
    """Return a table of closed loops and one of open loops for each model."""
    parts = [
        part
        for model, measured in result["models"].items()
        for part in (_closed(model, measured), _opened(measured))
    ]
    return "\n\n".join([*parts, NOTE])


def _closed(model: str, measured: dict[str, Any]) -> str:
    closed = measured["closed"]
    head = f"| {model}: pictures per second (least-most) |"
    columns = "".join(f" {count} client{'s' * (int(count) > 1)} |" for count in closed)
    lines = [head + columns + " one alone |", "|---" * (len(closed) + 2) + "|"]
    for name in next(iter(closed.values())):
        cells = "".join(f" {_rate(of_count, name)} |" for of_count in closed.values())
        alone_s = next(iter(closed.values()))[name]["seconds"]["median"]
        lines.append(f"| {name} |{cells} {alone_s * 1e3:.0f} ms |")
    return "\n".join(lines)


def _rate(of_count: dict[str, Any], name: str) -> str:
    values, plain = of_count[name]["per_s"], of_count[PLAIN]["per_s"]["median"]
    over = f", {values['median'] / plain:.2f}x" if name != PLAIN else ""
    return f"{values['median']:.2f} ({values['min']:.2f}-{values['max']:.2f}){over}"


def _opened(measured: dict[str, Any]) -> str:
    lines = [
        f"| {measured['open_rate_per_s']:.1f} requests a second at random, 10/20/50 steps mixed "
        "| p50 / p95 / p99, each run | p95 of the plain server's | within 3x solo |",
        "|---|---|---|---|",
    ]
    plain_s = median(run["p95"] for run in measured["open"][PLAIN])
    for name, runs in measured["open"].items():
        seconds = "; ".join(
            " / ".join(f"{run[cut]:.2f}" for cut in ("p50", "p95", "p99")) for run in runs
        )
        over = median(run["p95"] for run in runs) / plain_s
        in_time = "; ".join(f"{run['in_time']:.0%}" for run in runs)
        lines.append(f"| {name} | {seconds} s | {over:.2f}x | {in_time} |")
    return "\n".join(lines)
