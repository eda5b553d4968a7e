"""What makes a soak run fail."""

from __future__ import annotations

from typing import Any

from bench.service.soak import GROWTH_LIMIT_MB, find_faults


def phases(**overload: Any) -> dict[str, Any]:
    """Return a good run's phases but for some values of the overload's."""
    memory = {"Gateway": {"max": 100.0, "late_growth": 1.0}}
    good = {"accepted": 9, "ended_well": 9, "wrong": {}, "refused": 5, "memory_mb": memory}
    return {"baseline": good | {"refused": 0}, "overload": good | overload}


def test_a_run_without_loss_growth_or_wrong_answers_is_good() -> None:
    assert find_faults(phases()) == []


def test_each_failing_is_named() -> None:
    grown = {"Jobs": {"max": 100.0, "late_growth": GROWTH_LIMIT_MB + 1}}
    assert find_faults(phases(ended_well=7)) == ["overload: 2 jobs did not succeed"]
    assert find_faults(phases(wrong={"500": 1})) == ["overload: wrong answers {'500': 1}"]
    assert find_faults(phases(memory_mb=grown)) == ["overload: Jobs grows, 6.0 MB lately"]
    assert find_faults(phases(refused=0)) == ["overload: nothing was refused"]
