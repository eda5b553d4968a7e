"""The simulator tells the truth where it can be computed, and the policy reaches its figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.serve.autoscaling_policy import (
    _apply_autoscaling_config,
    replica_queue_length_autoscaling_policy,
)
from ray.serve.config import AutoscalingConfig

from bench.autoscale.__main__ import FLEET, GPU_BUDGET
from bench.autoscale.policies import Ours, ServeDefault, Static, _context
from bench.autoscale.report import figures, reaction
from bench.autoscale.simulator import Outcome, Replica, Scenario, Stage, simulate
from bench.autoscale.traces import (
    GENERATED,
    TRACES_DIR,
    Arrival,
    generate,
    read_trace,
    step,
    write_trace,
)
from serve.autoscaling.policy import Sizing

ONE_EACH = {"c": 1, "b": 1, "a": 1}


def alone(kind: str, images: int) -> Outcome:
    scenario = Scenario(FLEET.service_s, FLEET.gpus, ONE_EACH, ONE_EACH)
    return simulate([Arrival(10.0, kind, images)], scenario, Static(ONE_EACH))


@pytest.mark.parametrize(
    ("kind", "images", "expected_s"),
    [
        ("generate", 1, 0.44 + 0.25 + 0.03),
        ("generate", 4, 4 * 0.44 + 0.25 + 0.03),
        ("vary_details", 1, 0.25 + 0.03),
        ("vary_details", 3, 3 * 0.25 + 0.03),
    ],
)
def test_a_job_alone_takes_what_its_stages_take(kind: str, images: int, expected_s: float) -> None:
    (job,) = alone(kind, images).jobs
    assert job.ended_s - job.at_s == pytest.approx(expected_s)
    assert FLEET.solo_s(kind, images) == pytest.approx(expected_s)


def test_a_fixed_fleet_costs_its_gpus_for_the_whole_time() -> None:
    outcome = alone("generate", 1)
    end_s = outcome.history[-1][0] + 1
    assert outcome.gpu_s == pytest.approx(2 * end_s)


def test_a_replica_that_is_no_longer_wanted_ends_with_its_image_and_loses_none() -> None:
    class Shrinking(Static):
        def decide(self, now_s: float, stages: object) -> dict[str, int]:
            return ONE_EACH if now_s >= 3 else {"c": 4, "b": 4, "a": 1}

    scenario = Scenario({"c": 5.0, "b": 5.0, "a": 1.0}, FLEET.gpus, {"c": 4, "b": 4, "a": 1}, {})
    outcome = simulate([Arrival(0.0, "generate", 4)], scenario, Shrinking({}))
    (job,) = outcome.jobs
    # All four finish Stage C at 5 s; Stage B, shrunk while it was idle, takes them one by one.
    assert job.ended_s == pytest.approx(5 + 4 * 5 + 1)
    assert outcome.history[6][1]["c"][:2] == (1, 1)


def test_new_replicas_work_only_after_their_cold_start() -> None:
    scenario = Scenario(
        FLEET.service_s, FLEET.gpus, ONE_EACH, FLEET.cap, start_s=20, load_median_s=1, load_p95_s=1
    )
    arrivals = step(0.1, 6.0, 60.0, 120.0)
    outcome = simulate(arrivals, scenario, Ours(scenario, Sizing(GPU_BUDGET, FLEET.gpus)))
    asked = next(at_s for at_s, row in outcome.history if row["c"][0] > 1)
    up = next(at_s for at_s, row in outcome.history if row["c"][1] > 1)
    assert 21 <= up - asked <= 24


def test_serves_policy_decides_as_serve_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tick by tick against Serve's own wrapper, on a queue that rises and falls."""
    policy = ServeDefault(FLEET, metrics_interval_s=0.5, look_back_period_s=2.4)
    config = AutoscalingConfig(
        min_replicas=FLEET.floor["c"],
        max_replicas=FLEET.cap["c"],
        metrics_interval_s=0.5,
        look_back_period_s=2.4,
    )
    serve = _apply_autoscaling_config(replica_queue_length_autoscaling_policy)
    stage = Stage("c", replicas=[Replica(0.0, is_ready=True)], target=1)
    target, state = 1, {}
    said = []
    for second in range(1, 1200):
        stage.busy = 30 if second < 300 else 0
        wanted = policy.decide(float(second), {"c": stage})["c"]
        monkeypatch.setattr("ray.serve.autoscaling_policy.time.time", lambda at=second: at)
        total = policy._handles["c"].mean(float(second))
        stage.target = target
        context = _context(stage, config, total, float(second))
        context.policy_state = state
        target, state = serve(context)
        target = max(1, min(FLEET.cap["c"], target))
        assert wanted == target
        stage.target = wanted
        stage.replicas = [Replica(0.0, is_ready=True) for _ in range(wanted)]
        said.append(wanted)
    assert max(said) == 15
    assert said[-1] == 1


def test_serves_defaults_answer_a_step_late_and_stage_by_stage_and_ours_at_once() -> None:
    arrivals = step(0.3, 5.0, 300.0, 600.0)
    serve = reaction(simulate(arrivals, FLEET, ServeDefault(FLEET)), FLEET, 300.0)
    policy = Ours(FLEET, Sizing(GPU_BUDGET, FLEET.gpus))
    ours = reaction(simulate(arrivals, FLEET, policy), FLEET, 300.0)
    assert serve["asked_c_s"] is not None
    assert serve["asked_b_s"] is not None
    assert serve["asked_b_s"] - 20 > serve["asked_c_s"] > 30
    assert ours["asked_c_s"] is not None
    assert ours["asked_c_s"] <= 10
    assert ours["asked_b_s"] == pytest.approx(ours["asked_c_s"], abs=5)


@pytest.mark.parametrize(("trace", "share"), [("bursty", 0.6), ("gentle", 1.15)])
def test_ours_is_in_time_for_less_of_serves_gpu_seconds(trace: str, share: float) -> None:
    arrivals = read_trace(TRACES_DIR / f"{trace}.csv")
    serve = figures(simulate(arrivals, FLEET, ServeDefault(FLEET)), FLEET)
    policy = Ours(FLEET, Sizing(GPU_BUDGET, FLEET.gpus))
    ours = figures(simulate(arrivals, FLEET, policy), FLEET)
    assert ours["slo_attainment"] >= max(0.97, serve["slo_attainment"])
    assert ours["gpu_s"] <= share * serve["gpu_s"]


@pytest.mark.parametrize("name", GENERATED)
def test_the_traces_are_those_that_the_generator_makes(name: str, tmp_path: Path) -> None:
    speed, seed = GENERATED[name]
    write_trace(tmp_path / "again.csv", generate(speed, seed))
    assert (tmp_path / "again.csv").read_text() == (TRACES_DIR / f"{name}.csv").read_text()
