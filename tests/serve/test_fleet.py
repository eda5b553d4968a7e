"""The state of deployments: ready, or one short reason."""

from __future__ import annotations

import pytest
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
)
from ray.serve.schema import DeploymentStatus as Status

from serve.fleet import readiness, reason, running_replicas, starting_replicas


@pytest.mark.parametrize(
    ("status", "replicas", "message", "expected"),
    [
        (Status.HEALTHY, {"RUNNING": 1}, "", "ready"),
        (Status.HEALTHY, {}, "", "ready"),
        (Status.UNHEALTHY, {"RUNNING": 1, "STARTING": 1}, "one died", "ready"),
        (Status.UNHEALTHY, {"STARTING": 1}, "the only one died", "the only one died"),
        (Status.UPSCALING, {"STARTING": 1}, "", "upscaling"),
    ],
    ids=["runs", "scaled to zero", "one is left", "none is left", "on its way"],
)
def test_a_stage_is_ready_when_work_would_run_also_when_it_is_scaled_to_zero(
    status: Status, replicas: dict[str, int], message: str, expected: str
) -> None:
    trigger = DeploymentStatusTrigger.UNSPECIFIED
    stage = DeploymentStatusOverview(status, trigger, replicas, message)
    application = ApplicationStatusOverview(ApplicationStatus.RUNNING, "", 0.0, {"StageC": stage})
    assert readiness(application) == {"StageC": expected}
    assert running_replicas(application) == {"StageC": replicas.get("RUNNING", 0)}
    assert starting_replicas(application) == {"StageC": replicas.get("STARTING", 0)}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Deployment 'StageC' has 1 replicas that wait. Resources required: {}, available: {}.",
            "Deployment 'StageC' has 1 replicas that wait",
        ),
        (
            "The deployment failed to start. Error:\nTraceback\n  File x\n"
            "cascade_core.errors.NotReady: the database does not answer",
            "the database does not answer",
        ),
        (
            "failed. Error:\nsqlalchemy.exc.IntegrityError: NOT NULL failed\n[SQL: INSERT]\n"
            "(Background on this error at: https://sqlalche.me/e/21/gkpj)",
            "sqlalchemy.exc.IntegrityError: NOT NULL failed",
        ),
        ("x" * 1000, "x" * 300),
        (" ", "unhealthy"),
    ],
    ids=["scheduling", "ours", "sql", "long", "none"],
)
def test_why_a_deployment_does_not_run_is_one_short_line(message: str, expected: str) -> None:
    stage = DeploymentStatusOverview(
        Status.UNHEALTHY, DeploymentStatusTrigger.UNSPECIFIED, {}, message
    )
    assert reason(stage) == expected
