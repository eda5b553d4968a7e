"""The comparison with an earlier commit: its pairs and table, and a repository without it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.baseline import checkout
from bench.baseline.__main__ import BEFORE, NOW, _in_turns, _paired
from bench.baseline.pictures import Maker
from bench.baseline.table import TITLES, table
from serve.settings import load_settings

PAIRS = {BEFORE: [2.0, 4.0, 3.0], NOW: [1.0, 2.0, 1.5]}


def test_each_pair_of_samples_has_its_own_ratio() -> None:
    paired = _paired({"alone_s": PAIRS})
    assert paired["alone_s"]["now_over_before"] == {
        "median": 0.5, "p25": 0.5, "p75": 0.5, "min": 0.5, "max": 0.5, "n": 3
    }  # fmt: skip


def test_both_sides_are_first_as_often() -> None:
    first = [_in_turns({BEFORE: 1, NOW: 2}, pair)[0][0] for pair in range(10)]
    assert first.count(BEFORE) == first.count(NOW) == 5


def test_the_table_shows_every_ratio_and_the_cpu_time_of_each_process() -> None:
    shown = table(_result())
    for title in TITLES.values():
        assert f"| {title} |" in shown
    assert "| Jobs | 100.0 | 50.0 | 100.0 | 50.0 |" in shown
    assert "take 0.50 times the CPU time of the in-process pipeline now, 0.50 times" in shown


def test_a_picture_and_its_new_details_are_made_in_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CASCADE_MODEL", raising=False)
    maker = Maker(load_settings())
    latent = maker.make(maker.request(1), None)
    assert maker.make(maker.request(1), latent) is latent  # Stage C did not run again


def test_without_the_commit_the_benchmark_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    with pytest.raises(checkout.NoBaseline, match=f"commit {checkout.COMMIT} is not in this"):
        checkout.baseline_checkout()


def _result() -> dict[str, Any]:
    jobs = {BEFORE: [{"Jobs": 0.1}], NOW: [{"Jobs": 0.05}]}
    served = _paired(dict.fromkeys(("alone_s", "per_s"), PAIRS) | {"cpu_s_by_process": jobs})
    served |= _paired({"cpu_s": {BEFORE: [1.0], NOW: [1.0]}})
    local = _paired({"generate_s": PAIRS, "vary_s": PAIRS})
    local |= _paired({"generate_cpu_s": {BEFORE: [2.0], NOW: [2.0]}})
    return {"commit": "c0ffee", "pairs": 3, "in_process": local, "model": served, "null": served}
