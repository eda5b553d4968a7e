"""The limit of files and connections that a process may have open (``ulimit -n``)."""

from __future__ import annotations

import resource

SPARE = 1024
"""Files that a proxy needs besides its streams: short requests, Ray's connections, logs."""


def needed(max_streams: int) -> int:
    """Return how many files a proxy needs that keeps this many event streams open."""
    return max_streams + SPARE


def allowed() -> int:
    """Return how many files this process may have open after its soft limit is raised."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else 2**31 - 1


def raise_limit() -> None:
    """Raise the soft limit to the hard limit, for this process and its children."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
