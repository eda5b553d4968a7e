"""How wide each stage is, from what Ray Serve reports."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from ray.serve.schema import (
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
)

JOBS = "Jobs"
WAKE_AFTER_LOOKS = 3
_MAX_REASON_CHARS = 300
_BELOW_SQL_ERRORS = ("(Background on this error", "[SQL:", "[parameters:")
"""How the lines begin that SQLAlchemy puts below its message."""


def running_replicas(application: ApplicationStatusOverview) -> dict[str, int]:
    """Return how many replicas of each deployment answer."""
    return {
        name: int(overview.replica_states.get("RUNNING", 0))
        for name, overview in application.deployments.items()
    }


def has_replicas(application: ApplicationStatusOverview, deployment: str) -> bool:
    """Tell whether a deployment has replicas, be they still on their way up; not those that go."""
    overview = application.deployments.get(deployment)
    states = overview.replica_states if overview else {}
    return any(count for state, count in states.items() if state != "STOPPING")


class Sleepers:
    """Holds the work for stages without replicas back until an autoscaling policy has acted.

    At the first call to such a stage Serve starts one replica, and no policy can make it more
    until that one runs. One that is told how much work waits starts as many as it takes. The calls
    go out after a few looks in any case, to wake the stage where no such policy is configured.
    """

    def __init__(self) -> None:
        self._looks: Counter[str] = Counter()

    def hold(self, stage: str, *, has_replicas: bool, has_work: bool) -> bool:
        """Tell at a regular look whether the stage's calls should wait."""
        self._looks[stage] = 0 if has_replicas or not has_work else self._looks[stage] + 1
        return not has_replicas and self._looks[stage] < WAKE_AFTER_LOOKS


def readiness(application: ApplicationStatusOverview) -> dict[str, str]:
    """Return each deployment's state: ``ready``, or why it is not.

    One that is scaled to zero is ready: work starts a replica.
    """
    running = running_replicas(application)
    return {
        name: "ready"
        if running[name] > 0 or overview.status is DeploymentStatus.HEALTHY
        else reason(overview)
        for name, overview in application.deployments.items()
    }


def reason(overview: DeploymentStatusOverview) -> str:
    """Return in one line why a deployment does not run: Ray's message is long, or a traceback."""
    lines = [line for line in overview.message.strip().splitlines() if _is_telling(line)]
    if not lines:
        return str(overview.status.value).lower()
    if len(lines) == 1:
        return str(lines[0].partition(". ")[0][:_MAX_REASON_CHARS])
    return re.sub(r"^cascade_core\.errors\.\w+: ", "", lines[-1])[:_MAX_REASON_CHARS]


def _is_telling(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_BELOW_SQL_ERRORS)


def cannot_start(application: ApplicationStatusOverview) -> set[str]:
    """Return the deployments of which no replica answers because they fail to start.

    One that is scaled to zero, that starts for the first time, or whose replica has just died is
    none of them.
    """
    return {
        name
        for name, overview in application.deployments.items()
        if overview.status_trigger == DeploymentStatusTrigger.REPLICA_STARTUP_FAILED
        and not overview.replica_states.get("RUNNING", 0)
    }


def width(running: Mapping[str, int], stage: str, rows: int) -> int:
    """Return one Jobs replica's share of a stage, in images worked on at a time.

    At least one, so that Serve learns that there is work for a stage without replicas.

    Args:
        running: replicas by deployment.
        stage: name of the stage's deployment.
        rows: images that one replica of the stage works on at a time.
    """
    return max(1, math.ceil(running.get(stage, 0) * rows / max(1, running.get(JOBS, 0))))
