"""The state of the service's deployments, as Ray Serve reports it."""

from __future__ import annotations

import re

from ray.serve.schema import (
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
)

_MAX_REASON_CHARS = 300
_BELOW_SQL_ERRORS = ("(Background on this error", "[SQL:", "[parameters:")
"""Beginnings of the lines that SQLAlchemy adds below its message."""


def running_replicas(application: ApplicationStatusOverview) -> dict[str, int]:
    """Return how many replicas of each deployment run."""
    return {
        name: int(overview.replica_states.get("RUNNING", 0))
        for name, overview in application.deployments.items()
    }


def readiness(application: ApplicationStatusOverview) -> dict[str, str]:
    """Return each deployment's state: ``ready``, or why it is not.

    A deployment that is scaled to zero is ready: work starts a replica.
    """
    running = running_replicas(application)
    return {
        name: "ready"
        if running[name] > 0 or overview.status is DeploymentStatus.HEALTHY
        else reason(overview)
        for name, overview in application.deployments.items()
    }


def reason(overview: DeploymentStatusOverview) -> str:
    """Return in one line why a deployment does not run.

    Ray's message is long, or a traceback.
    """
    lines = [line for line in overview.message.strip().splitlines() if _is_message(line)]
    if not lines:
        return str(overview.status.value).lower()
    if len(lines) == 1:
        return str(lines[0].partition(". ")[0][:_MAX_REASON_CHARS])
    return re.sub(r"^cascade_core\.errors\.\w+: ", "", lines[-1])[:_MAX_REASON_CHARS]


def _is_message(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_BELOW_SQL_ERRORS)
