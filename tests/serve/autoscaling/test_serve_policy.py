"""The policy as Ray Serve calls it: hand-built contexts, Serve's own wrapper around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.autoscaling_policy import _apply_app_level_autoscaling_config
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from cascade_core.errors import SettingsInvalid
from serve.autoscaling.demand import Demand
from serve.autoscaling.serve_policy import PipelinePolicy

WORK = {"c": 20.0, "b": 10.0, "a": 1.0}
SIZING = {"gpu_budget": 20, "gpus": {"c": 1, "b": 0.5, "a": 0.25}}
Contexts = dict[DeploymentID, AutoscalingContext]


def context(
    name: str,
    stats: dict[str, float],
    *,
    running: int = 1,
    target: int = 1,
    floor: int = 1,
    state: dict[str, Any] | None = None,
    now_s: float = 1000.0,
    ongoing: float = 0.0,
) -> AutoscalingContext:
    deployment = DeploymentID(name=name, app_name="cascade")
    replicas = [ReplicaID(unique_id=str(i), deployment_id=deployment) for i in range(running)]
    raw = {
        key: {replica: [TimeStampedValue(now_s - 1, value)] for replica in replicas}
        for key, value in stats.items()
    }
    return AutoscalingContext(
        deployment_id=deployment,
        deployment_name=name,
        app_name="cascade",
        current_num_replicas=running,
        target_num_replicas=target,
        running_replicas=replicas,
        total_num_requests=ongoing,
        total_queued_requests=0.0,
        aggregated_metrics={},
        raw_metrics=raw,
        capacity_adjusted_min_replicas=floor,
        capacity_adjusted_max_replicas=40,
        policy_state=state or {},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now_s,
        config=AutoscalingConfig(
            min_replicas=floor, max_replicas=40, upscale_delay_s=0, downscale_delay_s=0
        ),
    )


def application(demand: Demand, **more: Any) -> Contexts:
    contexts = [context("Jobs", demand.stats(), now_s=more.get("now_s", 1000.0))]
    for name in ("StageC", "StageB", "StageA"):
        contexts.append(context(name, {"seconds_per_work": 0.02, "queued_s": 1.0}, **more))
    return {item.deployment_id: item for item in contexts}


def names(decisions: dict[DeploymentID, int]) -> dict[str, int]:
    return {deployment.name: count for deployment, count in decisions.items()}


@pytest.fixture
def burst() -> Iterator[Demand]:
    demand = Demand(WORK, lambda: 500.0)
    with ExitStack() as images:
        for _ in range(50):
            images.enter_context(demand.image(WORK))
        yield demand


def test_stages_of_several_models_grow_for_their_own_work_alone() -> None:
    demand = Demand({"c": 1.0, "c@other": 1.0}, lambda: 500.0)
    deployments = ("StageC", "StageC@other")
    with demand.image({"c@other": 50.0}):
        contexts = [context("Jobs", demand.stats())]
        contexts += [context(name, {"seconds_per_work": 0.2}) for name in deployments]
        policy = PipelinePolicy(gpu_budget=4, gpus={"c@other": 0.5})
        decisions, _ = policy({item.deployment_id: item for item in contexts})
    replicas = names(decisions)
    assert replicas["StageC@other"] > replicas["StageC"]


def test_a_burst_grows_the_stages_and_leaves_jobs_alone(burst: Demand) -> None:
    decisions, state = PipelinePolicy(**SIZING)(application(burst))
    assert set(names(decisions)) == {"StageC", "StageB", "StageA"}
    assert names(decisions)["StageC"] > names(decisions)["StageB"] > 1
    assert {deployment.name for deployment in state} >= set(names(decisions))


def test_the_state_is_what_serve_can_store(burst: Demand) -> None:
    _, state = PipelinePolicy(**SIZING)(application(burst))
    for kept in state.values():
        assert json.loads(json.dumps(kept)).keys() == kept.keys()


def test_nothing_changes_while_no_jobs_replica_has_reported() -> None:
    contexts = application(Demand(WORK), target=7)
    silent = {key: item for key, item in contexts.items() if key.name != "Jobs"}
    assert PipelinePolicy(**SIZING)(silent)[0] == {}
    jobs = context("Jobs", {})
    assert PipelinePolicy(**SIZING)({**silent, jobs.deployment_id: jobs})[0] == {}


def test_the_demand_of_all_jobs_replicas_counts(burst: Demand) -> None:
    one = application(burst)
    two = context("Jobs", burst.stats(), running=2)
    policy = PipelinePolicy(**SIZING | {"gpu_budget": 1000})
    few, many = policy(one)[0], policy({**one, two.deployment_id: two})[0]
    assert names(many)["StageC"] > 1.5 * names(few)["StageC"]


def test_a_stage_at_zero_remembers_what_its_work_costs(burst: Demand) -> None:
    policy = PipelinePolicy(**SIZING)
    _, state = policy(application(burst))
    asleep = {
        key: context(key.name, {}, running=0, target=0, floor=0, state=state[key])
        for key in state
        if key.name != "Jobs"
    }
    jobs = context("Jobs", burst.stats())
    decisions, _ = policy({jobs.deployment_id: jobs, **asleep})
    assert names(decisions)["StageC"] == 5


def test_serves_wrapper_wakes_a_sleeping_stage_with_as_many_as_it_takes(burst: Demand) -> None:
    contexts = application(burst, running=0, target=0, floor=0)
    for item in contexts.values():
        item.policy_state["seconds_per_work"] = 0.02
    jobs = context("Jobs", burst.stats())
    contexts[jobs.deployment_id] = jobs
    decisions, _ = _apply_app_level_autoscaling_config(PipelinePolicy(**SIZING))(contexts)
    assert names(decisions)["StageC"] == 5


def test_serves_wrapper_does_not_grow_a_stage_at_zero_that_a_call_has_reached_already(
    burst: Demand,
) -> None:
    """See `serve.jobs.stage_monitor.ColdStartHold` for why such calls are held back."""
    contexts = application(burst, running=0, target=1, floor=0, ongoing=1.0)
    for item in contexts.values():
        item.policy_state["seconds_per_work"] = 0.02
    jobs = context("Jobs", burst.stats())
    contexts[jobs.deployment_id] = jobs
    decisions, _ = _apply_app_level_autoscaling_config(PipelinePolicy(**SIZING))(contexts)
    assert names(decisions)["StageC"] == 1


def test_serves_wrapper_takes_a_quiet_stage_down_to_its_floor() -> None:
    policy = _apply_app_level_autoscaling_config(PipelinePolicy(**SIZING, hold_s=60))
    state: dict[DeploymentID, dict[str, Any]] = {}
    targets = {"StageC": 5, "StageB": 5, "StageA": 5}
    for second in range(70):
        contexts = {
            key: context(
                key.name,
                Demand(WORK).stats() if key.name == "Jobs" else {"seconds_per_work": 0.02},
                running=targets.get(key.name, 1),
                target=targets.get(key.name, 1),
                state=state.get(key),
                now_s=1000.0 + second,
            )
            for key in application(Demand(WORK))
        }
        decisions, state = policy(contexts)
        targets = names(decisions)
        assert set(targets.values()) == ({5} if second <= 60 else {1})


def test_serve_can_send_the_policy_to_its_controller() -> None:
    named = AutoscalingPolicy(
        policy_function="serve.autoscaling.serve_policy:PipelinePolicy", policy_kwargs=SIZING
    )
    policy = named.get_policy()(**named.policy_kwargs)
    assert policy(application(Demand(WORK)))[0]


def test_gpus_of_what_is_no_stage_are_refused() -> None:
    with pytest.raises(SettingsInvalid, match="gpus names d4, but the stages are c, b, a"):
        PipelinePolicy(gpu_budget=1, gpus={"c": 1, "d4": 1})
