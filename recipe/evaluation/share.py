"""Shares of right answers, and how sure they are."""

import math
from collections.abc import Iterable
from typing import Final

DEVIATIONS: Final = 1.96
"""Standard deviations on either side that hold 95%."""


def share(flags: Iterable[bool]) -> float:
    """Share of true flags."""
    values = list(flags)
    return round(sum(values) / max(1, len(values)), 4)


def wilson_interval(found_share: float, count: int) -> tuple[float, float]:
    """Interval of 95% around a share of `count` flags (Wilson 1927): it ends within [0, 1]."""
    if count == 0:
        return 0.0, 1.0
    spread = DEVIATIONS**2 / count
    centre = (found_share + spread / 2) / (1 + spread)
    reach = math.sqrt(spread * (found_share * (1 - found_share) + spread / 4)) / (1 + spread)
    return centre - reach, centre + reach
