"""How wide each stage is, from what Ray Serve reports."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ray.serve.schema import ApplicationStatusOverview

JOBS = "Jobs"


def running_replicas(application: ApplicationStatusOverview) -> dict[str, int]:
    """Return how many replicas of each deployment answer."""
    return {
        name: int(overview.replica_states.get("RUNNING", 0))
        for name, overview in application.deployments.items()
    }


def width(running: Mapping[str, int], stage: str, rows: int) -> int:
    """Return one Jobs replica's share of a stage, in images worked on at a time.

    At least one, so that a stage scaled to zero learns that there is work.

    Args:
        running: replicas by deployment.
        stage: name of the stage's deployment.
        rows: images that one replica of the stage works on at a time.
    """
    return max(1, math.ceil(running.get(stage, 0) * rows / max(1, running.get(JOBS, 0))))
