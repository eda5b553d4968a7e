"""How many files and connections a process may have open (``ulimit -n``)."""

from __future__ import annotations

import resource

SPARE = 1024
"""Of a proxy besides its streams: short requests, Ray's own connections, logs."""


def needed(max_streams: int) -> int:
    """Return how many a proxy needs that holds this many event streams open."""
    return max_streams + SPARE


def allowed() -> int:
    """Return how many this process may have open once its soft limit is raised."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else 2**31 - 1


def raise_limit() -> None:
    """Raise the soft limit to the hard one, for this process and all it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
