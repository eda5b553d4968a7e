"""The result as tables in Markdown."""

from __future__ import annotations

from typing import Any

TARGETS = {
    ("in_process", "generate_s"): "<= 0.67",
    ("in_process", "vary_s"): "<= 0.67",
    ("model", "per_s"): ">= 1.8",
    ("null", "per_s"): ">= 3",
}
TITLES = {
    ("in_process", "generate_s"): "one picture in one process",
    ("in_process", "vary_s"): "*Vary details* in one process",
    ("in_process", "generate_cpu_s"): "its CPU time, a picture",
    ("model", "alone_s"): "HTTP request to picture, idle service",
    ("model", "per_s"): "16 clients, pictures per second",
    ("model", "cpu_s"): "their CPU time, all processes, a picture",
    ("null", "alone_s"): "a job with stages that do nothing, created and waited for",
    ("null", "per_s"): "16 clients, such jobs per second",
    ("null", "cpu_s"): "their CPU time, all processes, a job",
}


def table(result: dict[str, Any]) -> str:
    """Return the ratios with their spread, and the CPU time of each kind of process."""
    lines = [
        f"| demo model, medians | {result['commit']} | now | now over before (quartiles) "
        "| target | n |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(result, *key) for key in TITLES]
    over = _cpu_over_in_process(result)
    lines += [
        "",
        f"At saturation all processes take {over['now']:.2f} times the CPU time of the in-process "
        f"pipeline now, {over['before']:.2f} times before (target: 1.5).",
        "",
        "| CPU time at saturation, ms | a picture, before | now | null job, before | now |",
        "|---|---|---|---|---|",
        *_by_process(result),
        "",
        f"{result['pairs']} pairs in turns, both services running side by side, the other one "
        "idle; its idle work slows both. Not measured: a GPU, PostgreSQL, several replicas.",
    ]
    return "\n".join(lines)


def _row(result: dict[str, Any], part: str, name: str) -> str:
    values, unit = result[part][name], "" if name == "per_s" else " ms"
    scale, ratio = 1.0 if name == "per_s" else 1e3, result[part][name]["now_over_before"]
    before, now = (f"{values[side]['median'] * scale:.4g}{unit}" for side in ("before", "now"))
    spread = f"{ratio['median']:.2f} ({ratio['p25']:.2f}-{ratio['p75']:.2f})"
    target = TARGETS.get((part, name), "")
    return f"| {TITLES[part, name]} | {before} | {now} | {spread} | {target} | {ratio['n']} |"


def _cpu_over_in_process(result: dict[str, Any]) -> dict[str, float]:
    served, alone = result["model"]["cpu_s"], result["in_process"]["generate_cpu_s"]
    return {side: served[side]["median"] / alone[side]["median"] for side in ("before", "now")}


def _by_process(result: dict[str, Any]) -> list[str]:
    columns = [
        result[part]["cpu_s_by_process"][side]
        for part in ("model", "null")
        for side in ("before", "now")
    ]
    kinds = sorted({kind for column in columns for kind in column})
    return [
        f"| {kind} | "
        + " | ".join(
            f"{column[kind]['median'] * 1e3:.1f}" if kind in column else "" for column in columns
        )
        + " |"
        for kind in kinds
    ]
