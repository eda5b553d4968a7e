"""Medians with their spread, the machine they were taken on, and where results go."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import Any

import torch

RESULTS_DIR = Path(__file__).parent / "results"


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles, extremes and count of a sample."""
    low, _, high = quantiles(samples, n=4) if len(samples) > 1 else (samples[0],) * 3
    return {
        "median": median(samples),
        "p25": low,
        "p75": high,
        "min": min(samples),
        "max": max(samples),
        "n": len(samples),
    }


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and count of a sample of at least two."""
    cuts = quantiles(samples, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "n": len(samples)}


def late_growth(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Return how much a series grows in its second half, by the least-squares line through it.

    What fills up at first (caches, pools) counts for nothing; what leaks, or fills up slowly, does.
    """
    half = len(times_s) // 2
    times_s, values = times_s[half:], values[half:]
    return linear_regression(times_s, values).slope * (times_s[-1] - times_s[0])


def machine() -> dict[str, Any]:
    """Describe where the figures were taken, in words that mean something elsewhere."""
    return {
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load_average_before": [round(value, 2) for value in os.getloadavg()],
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_result(name: str, result: dict[str, Any], table: str) -> None:
    """Write ``results/<name>.json`` and ``results/<name>.md``, and print the table."""
    save_result(name, result, table)
    print(table)


def save_result(name: str, result: dict[str, Any], table: str, folder: Path = RESULTS_DIR) -> None:
    """Write ``<name>.json`` and ``<name>.md`` into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (folder / f"{name}.md").write_text(table + "\n")


def milliseconds(values: dict[str, float]) -> str:
    """Show a summary in seconds as ``median (p25-p75) ms``."""
    return f"{values['median'] * 1e3:.2f} ({values['p25'] * 1e3:.2f}-{values['p75'] * 1e3:.2f}) ms"


def percentiles_ms(values: dict[str, float]) -> str:
    """Show percentiles in seconds as ``p50 / p95 / p99 ms``."""
    return " / ".join(f"{values[name] * 1e3:.1f}" for name in ("p50", "p95", "p99")) + " ms"
