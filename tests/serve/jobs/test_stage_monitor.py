"""A queue's width follows its stage's replicas; outages and cold starts are found."""

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

from serve.jobs.stage_monitor import (
    HOLD_LOOKS,
    OUTAGE_AFTER_S,
    ColdStartHold,
    Outages,
    cannot_start,
    has_replicas,
    width,
)
from tests.serve.clock import Clock

FAILED = DeploymentStatusTrigger.REPLICA_STARTUP_FAILED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("replicas", "rows", "jobs", "expected"),
    [(1, 1, 1, 1), (4, 1, 1, 4), (2, 4, 1, 8), (4, 1, 2, 2), (3, 1, 2, 2), (0, 4, 1, 1)],
)
def test_width_is_a_fair_share_of_all_rows_and_at_least_one(
    replicas: int, rows: int, jobs: int, expected: int
) -> None:
    assert width({"StageC": replicas, "Jobs": jobs}, "StageC", rows) == expected


def test_a_stage_that_is_not_known_yet_has_width_one() -> None:
    assert width({}, "StageC", 4) == 1


@pytest.mark.parametrize(
    ("states", "expected"),
    [({}, False), ({"STOPPING": 2}, False), ({"STARTING": 1}, True), ({"RUNNING": 1}, True)],
)
def test_starting_replicas_count_and_stopping_ones_do_not(
    states: dict[str, int], expected: bool
) -> None:
    overview = cast(DeploymentStatusOverview, SimpleNamespace(replica_states=states))
    deployments = {"StageC": overview}
    application = cast(ApplicationStatusOverview, SimpleNamespace(deployments=deployments))
    assert has_replicas(application, "StageC") == expected
    assert not has_replicas(application, "StageB")


def test_calls_to_a_scaled_to_zero_stage_wait_for_the_policy_but_not_forever() -> None:
    hold = ColdStartHold()
    idle = [hold.is_held("c", has_replicas=False, has_work=False) for _ in range(10)]
    assert all(idle)
    waking = [hold.is_held("c", has_replicas=False, has_work=True) for _ in range(10)]
    assert waking.index(False) == HOLD_LOOKS - 1
    assert not hold.is_held("c", has_replicas=True, has_work=True)


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


def test_an_outage_is_one_that_lasts(clock: Clock) -> None:
    outages = Outages(clock)
    assert outages.lasting({"b"}) == set()
    clock.now_s = OUTAGE_AFTER_S - 1
    assert outages.lasting({"b", "c"}) == set()
    clock.now_s = OUTAGE_AFTER_S
    assert outages.lasting({"b", "c"}) == {"b"}


def test_a_stage_that_started_meanwhile_has_its_time_again(clock: Clock) -> None:
    outages = Outages(clock)
    outages.lasting({"b"})
    outages.lasting(set())
    clock.now_s = OUTAGE_AFTER_S
    assert outages.lasting({"b"}) == set()
