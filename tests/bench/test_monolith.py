"""The comparison with other servers: its arrivals, its table, and what README takes from it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.monolith.loads import SHARE_OF_STEPS, arrivals
from bench.monolith.table import BATCHED, DEMO, DISPATCH, LITSERVE, OURS, PLAIN, table
from bench.readme import _against_plain
from bench.stats import summary

CLIENTS = ("1", "4", "16", "64")
PER_S = {OURS: [4.0, 5.0], PLAIN: [1.0, 2.0], BATCHED: [2.0, 2.0], LITSERVE: [2.0, 3.0]}


def test_every_server_gets_the_same_arrivals() -> None:
    coming = arrivals(2.0, 100.0)
    assert coming == arrivals(2.0, 100.0)
    assert len(coming) == pytest.approx(200, rel=0.25)
    assert {steps for _, steps in coming} == SHARE_OF_STEPS.keys()
    assert all(0 < at_s < 100 for at_s, _ in coming)


def test_the_table_has_each_server_by_number_of_clients_and_both_runs_of_the_trace() -> None:
    shown = table(_result())
    rates = " 4.50 (4.00-5.00), 3.00x |" * len(CLIENTS)
    assert shown.count(f"| {OURS} |{rates} 500 ms |") == 2  # models
    assert shown.count(f"| {LITSERVE} | 1.00 / 2.00 / 3.00; 1.50 / 2.50 / 3.50 s | 1.00x |") == 2


def test_readme_shows_the_dispatch_bound_model() -> None:
    result = _result()
    slower = {OURS: [{"p95": 1.0, "in_time": 1.0}] * 2, PLAIN: [{"p95": 4.0, "in_time": 0.5}] * 2}
    result["models"][DISPATCH]["open"] = slower
    assert _against_plain(result) == (3.0, 0.25, 1.0, 0.5)


def _result() -> dict[str, Any]:
    runs = [
        {"p50": 1.0, "p95": 2.0, "p99": 3.0, "in_time": 0.9},
        {"p50": 1.5, "p95": 2.5, "p99": 3.5, "in_time": 1.0},
    ]
    servers = {
        name: {"per_s": summary(values), "seconds": summary([0.5, 0.5])}
        for name, values in PER_S.items()
    }
    measured = {
        "closed": dict.fromkeys(CLIENTS, servers),
        "open_rate_per_s": 1.0,
        "open": dict.fromkeys(PER_S, runs),
    }
    return {"models": {model: dict(measured) for model in (DEMO, DISPATCH)}}
