"""The state of the service's deployments, as Ray Serve reports it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ray.serve.context import _get_global_client
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
)

_MAX_REASON_CHARS = 300
_BELOW_SQL_ERRORS = ("(Background on this error", "[SQL:", "[parameters:")
"""Beginnings of the lines that SQLAlchemy adds below its message."""


def application_status(name: str) -> ApplicationStatusOverview:
    """Return Serve's status of an application, as ``ray.serve.status`` does.

    That one also checks the configuration of each deployment, and pickles its request router for
    it. This took most of the CPU time of an idle Jobs replica.

    Raises:
        RayServeException: no Serve runs.
        KeyError: there is no such application.
        RayError: Serve's controller does not answer.
    """
    client: Any = _get_global_client()
    application = client.get_serve_details()["applications"][name]
    return ApplicationStatusOverview(
        status=ApplicationStatus(application["status"]),
        message=application["message"],
        last_deployed_time_s=application["last_deployed_time_s"],
        deployments={
            deployment_name: _deployment_status(deployment)
            for deployment_name, deployment in application["deployments"].items()
        },
    )


def _deployment_status(deployment: Mapping[str, Any]) -> DeploymentStatusOverview:
    return DeploymentStatusOverview(
        status=DeploymentStatus(deployment["status"]),
        status_trigger=DeploymentStatusTrigger(deployment["status_trigger"]),
        replica_states=dict(Counter(replica["state"] for replica in deployment["replicas"])),
        message=deployment["message"],
    )


def running_replicas(application: ApplicationStatusOverview) -> dict[str, int]:
    """Return how many replicas of each deployment run."""
    return {
        name: int(overview.replica_states.get("RUNNING", 0))
        for name, overview in application.deployments.items()
    }


def starting_replicas(application: ApplicationStatusOverview) -> dict[str, int]:
    """Return how many replicas of each deployment start."""
    return {
        name: int(overview.replica_states.get("STARTING", 0))
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
