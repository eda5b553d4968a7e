"""A stage's width follows its replicas, shared by the replicas that send it work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
)
from ray.serve.schema import DeploymentStatus as Status

from serve.fleet import (
    WAKE_AFTER_LOOKS,
    Sleepers,
    cannot_start,
    has_replicas,
    readiness,
    reason,
    width,
)

FAILED = DeploymentStatusTrigger.REPLICA_STARTUP_FAILED


@pytest.mark.parametrize(
    ("replicas", "rows", "jobs", "expected"),
    [(1, 1, 1, 1), (4, 1, 1, 4), (2, 4, 1, 8), (4, 1, 2, 2), (3, 1, 2, 2), (0, 4, 1, 1)],
)
def test_width_is_a_fair_share_of_all_rows_and_at_least_one(
    replicas: int, rows: int, jobs: int, expected: int
) -> None:
    assert width({"StageC": replicas, "Jobs": jobs}, "StageC", rows) == expected


def test_a_stage_nobody_knows_of_yet_has_width_one() -> None:
    assert width({}, "StageC", 4) == 1


@pytest.mark.parametrize(
    ("states", "expected"),
    [({}, False), ({"STOPPING": 2}, False), ({"STARTING": 1}, True), ({"RUNNING": 1}, True)],
)
def test_replicas_on_their_way_up_count_and_those_that_go_do_not(
    states: dict[str, int], expected: bool
) -> None:
    overview = cast(DeploymentStatusOverview, SimpleNamespace(replica_states=states))
    deployments = {"StageC": overview}
    application = cast(ApplicationStatusOverview, SimpleNamespace(deployments=deployments))
    assert has_replicas(application, "StageC") == expected
    assert not has_replicas(application, "StageB")


def test_calls_to_a_sleeping_stage_wait_for_the_policy_but_not_for_ever() -> None:
    sleepers = Sleepers()
    idle = [sleepers.hold("c", has_replicas=False, has_work=False) for _ in range(10)]
    assert all(idle)
    waking = [sleepers.hold("c", has_replicas=False, has_work=True) for _ in range(10)]
    assert waking.index(False) == WAKE_AFTER_LOOKS - 1
    assert not sleepers.hold("c", has_replicas=True, has_work=True)


@pytest.mark.parametrize(
    ("status", "trigger", "replicas", "fails"),
    [
        (Status.DEPLOY_FAILED, FAILED, {}, True),
        (Status.UNHEALTHY, FAILED, {"STARTING": 1}, True),
        (Status.UNHEALTHY, FAILED, {"STARTING": 1, "RUNNING": 1}, False),
        (Status.UNHEALTHY, DeploymentStatusTrigger.HEALTH_CHECK_FAILED, {"STARTING": 1}, False),
        (Status.UPDATING, DeploymentStatusTrigger.CONFIG_UPDATE_STARTED, {"STARTING": 1}, False),
        (Status.HEALTHY, DeploymentStatusTrigger.DOWNSCALE_COMPLETED, {}, False),
    ],
    ids=["gave up", "fails again", "one is left", "one died", "first start", "scaled to zero"],
)
def test_a_stage_cannot_start_only_if_serve_has_seen_it_fail_and_none_runs(
    status: Status, trigger: DeploymentStatusTrigger, replicas: dict[str, int], fails: bool
) -> None:
    stage = DeploymentStatusOverview(status, trigger, replicas, "")
    application = ApplicationStatusOverview(ApplicationStatus.RUNNING, "", 0.0, {"StageB": stage})
    assert cannot_start(application) == ({"StageB"} if fails else set())


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
