"""Pure policy: by when a job must have ended."""

from __future__ import annotations

from typing import Final

AT_LEAST_S: Final = 900.0
"""What every job is granted: short ones wait for the same restarts as long ones."""
FACTOR: Final = 10.0
"""Others may come after a job and still go before it, and a stage may lose some of its replicas."""
UNKNOWN_S: Final = 24 * 3600.0
"""As long as nothing was measured: a slow machine may need hours for its first jobs."""


def time_allowed_s(estimate_s: float | None, at_least_s: float = AT_LEAST_S) -> float:
    """Return the seconds that a job may take from its acceptance to its end.

    Args:
        estimate_s: of waiting and running, from measured rates; None while nothing was measured.
        at_least_s: granted to every job, whatever its estimate.
    """
    if estimate_s is None:
        return max(UNKNOWN_S, at_least_s)
    return at_least_s + FACTOR * estimate_s
