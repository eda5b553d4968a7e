"""What a configuration may state: numbers and lengths that some network could have."""

from __future__ import annotations

from math import isfinite
from typing import Final

MAX_CHANNELS: Final = 65_536
MAX_LAYERS: Final = 1000
MAX_BLOCKS: Final = 10_000
"""Of a whole network; the published ones have some hundreds."""


def check_count(name: str, value: object, least: int, most: int) -> None:
    """Check a whole number.

    Raises:
        ValueError: it is none, or out of its range.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")


def check_number(name: str, value: object) -> None:
    """Check a number that may have a fraction.

    Raises:
        ValueError: it is none, or not finite.
    """
    if type(value) not in (int, float) or not isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"{name} must be a number")


def check_heads(name: str, channels: int, heads: object) -> None:
    """Check that attention can share its channels between its heads.

    Raises:
        ValueError: it cannot.
    """
    check_count(name, heads, 1, channels)
    if channels % heads:  # type: ignore[operator]
        raise ValueError(f"{name} is {heads}, which does not divide {channels} channels")
