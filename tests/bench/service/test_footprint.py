"""What the benchmark of the start says of its runs."""

from __future__ import annotations

from typing import Any

from bench.service.footprint import BASELINE, OURS, summarised, table


def run(ready_s: float, pss_mb: float) -> dict[str, Any]:
    """A run of a service of two processes, each with half of the figures."""
    halves = {"Gateway": pss_mb / 2, "Jobs": pss_mb / 2}
    seconds = {"ready_s": ready_s, "picture_s": 1.0, "begun_s": {"Gateway": 2.0, "Jobs": 3.0}}
    return seconds | dict.fromkeys(("start_cpu_s", "pss_mb", "idle_percent"), halves)


def test_the_table_shows_ratios_of_medians_to_the_baseline() -> None:
    ours = summarised([run(8.0, 500.0), run(9.0, 500.0), run(30.0, 500.0)])
    baseline = summarised([run(18.0, 1000.0)])
    shown = table({"idle_s": 60.0, "checkouts": {OURS: ours, BASELINE: baseline}})
    assert "| 9.0 (8.0-30.0) s | 18.0 (18.0-18.0) s | 0.50 | <= 0.5 |" in shown
    assert "| 500 (500-500) MB | 1000 (1000-1000) MB | 0.50 | <= 0.65 |" in shown
    assert "| Gateway | 2.0 s |" in shown


def test_without_a_baseline_there_is_no_ratio() -> None:
    shown = table({"idle_s": 60.0, "checkouts": {OURS: summarised([run(8.0, 500.0)])}})
    assert "| 8.0 (8.0-8.0) s |  | <= 0.5 |" in shown
