"""What computing costs, by the prices of stages."""

from __future__ import annotations

from collections.abc import Mapping

_HOUR_S = 3600.0

Prices = Mapping[str, float]
"""Of an hour, by stage."""


def price_of(cost_s: Mapping[str, float], prices: Prices) -> float | None:
    """Return what seconds in stages cost; None if one of the stages has no price."""
    used = {stage: seconds for stage, seconds in cost_s.items() if seconds}
    if not used or not all(prices.get(stage) for stage in used):
        return None
    return round(sum(prices[stage] * seconds / _HOUR_S for stage, seconds in used.items()), 6)
