"""The autoscaling policy, driven through simulated minutes without any cluster."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.errors import SettingsInvalid
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.autoscaling.policy import Peaks, Sizing, StageLoad, plan

SECONDS = {"c": 0.44, "b": 0.25, "a": 0.03}
GPUS = {"c": 1.0, "b": 0.5, "a": 0.25}
OWN_GPUS = {stage.name: stage.own_gpus for stage in STABLE_CASCADE.stages}


def load(
    rate: float = 0.0,
    open_work: float = 0.0,
    *,
    stage: str = "c",
    target: int = 1,
    floor: int = 1,
    cap: int = 1000,
) -> StageLoad:
    return StageLoad((rate, rate), open_work, SECONDS[stage], target, floor, cap)


def pipeline(rate: float, **more: int) -> dict[str, StageLoad]:
    """All stages under ``rate`` images per second, each of one unit of work."""
    return {stage: load(rate, rate, stage=stage, **more) for stage in STABLE_CASCADE.names}


class Minutes:
    """Asks the policy once a second and remembers what it said."""

    def __init__(self, sizing: Sizing) -> None:
        self.sizing = sizing
        self.now_s = 0.0
        self.peaks: dict[str, Peaks] = {}
        self.replicas: dict[str, int] = {}

    def run(self, seconds: int, loads: dict[str, StageLoad]) -> list[dict[str, int]]:
        said = []
        for _ in range(seconds):
            self.replicas, self.peaks = plan(self.sizing, self.now_s, loads, self.peaks)
            self.now_s += 1.0
            said.append(self.replicas)
        return said


@st.composite
def loads(draw: st.DrawFn) -> dict[str, StageLoad]:
    found = {}
    for stage in STABLE_CASCADE.names:
        floor = draw(st.integers(0, 2))
        found[stage] = StageLoad(
            arriving=(draw(st.floats(0, 100)), draw(st.floats(0, 100))),
            open_work=draw(st.floats(0, 1000)),
            seconds_per_work=draw(st.one_of(st.none(), st.floats(0.001, 10))),
            target=draw(st.integers(floor, 40)),
            floor=floor,
            cap=draw(st.integers(floor + 1, 40)),
        )
    return found


@given(loads(), loads(), st.floats(5, 40))
def test_the_budget_and_each_stages_bounds_are_kept(
    first: dict[str, StageLoad], second: dict[str, StageLoad], gpu_budget: float
) -> None:
    sizing = Sizing(gpu_budget, GPUS)
    _, peaks = plan(sizing, 0.0, first, {})
    replicas, _ = plan(sizing, 1.0, second, peaks)
    assert sum(replicas[stage] * GPUS[stage] for stage in STABLE_CASCADE.names) <= gpu_budget + 1e-6
    for stage, count in replicas.items():
        assert second[stage].floor <= count <= second[stage].cap


@given(loads(), loads(), st.floats(5, 40))
def test_the_budget_counts_the_gpus_of_pods_that_stages_share(
    first: dict[str, StageLoad], second: dict[str, StageLoad], gpu_budget: float
) -> None:
    sizing = Sizing(gpu_budget, {"c": 1.0, "b": 0.5, "a": 0.5}, pods=[["b", "a"]])
    _, peaks = plan(sizing, 0.0, first, {})
    replicas, _ = plan(sizing, 1.0, second, peaks)
    floors = max(second["b"].floor, second["a"].floor) + second["c"].floor
    taken = replicas["c"] + max(replicas["b"], replicas["a"])
    assert taken <= max(gpu_budget + 1e-6, floors)


def test_variations_only_do_not_take_more_pods_than_the_budget() -> None:
    """With shares of 0.5 a budget of 3 was overspent: one C and three Bs on GPUs of their own."""
    busy = StageLoad((5.0,) * 3, 100.0, 1.0, target=1, floor=1, cap=3)
    idle = StageLoad((0.0,) * 3, 0.0, 1.0, target=1, floor=1, cap=4)
    sizing = Sizing(3, {"c": 1.0, "b": 0.5, "a": 0.5}, pods=[["b", "a"]])
    replicas, _ = plan(sizing, 0.0, {"c": idle, "b": busy, "a": busy}, {})
    assert replicas == {"c": 1, "b": 2, "a": 2}


@given(loads(), st.floats(1, 5))
def test_more_load_never_means_fewer_replicas(light: dict[str, StageLoad], factor: float) -> None:
    heavy = {
        stage: StageLoad(
            arriving=tuple(rate * factor for rate in load.arriving),
            open_work=load.open_work * factor,
            seconds_per_work=load.seconds_per_work,
            target=load.target,
            floor=load.floor,
            cap=load.cap,
        )
        for stage, load in light.items()
    }
    sizing = Sizing(1000, GPUS)
    few, _ = plan(sizing, 0.0, light, {})
    many, _ = plan(sizing, 0.0, heavy, {})
    assert all(few[stage] <= many[stage] for stage in STABLE_CASCADE.names)


@given(loads())
def test_a_constant_load_never_makes_a_stage_grow_and_shrink_by_turns(
    same: dict[str, StageLoad],
) -> None:
    minutes = Minutes(Sizing(20, GPUS, hold_s=5))
    said = minutes.run(20, same)
    for stage in STABLE_CASCADE.names:
        steps = [after[stage] - before[stage] for before, after in itertools.pairwise(said)]
        assert not (any(step > 0 for step in steps) and any(step < 0 for step in steps))
        assert len({replicas[stage] for replicas in said[10:]}) == 1


def test_replicas_follow_the_measured_rates_and_no_fixed_ratio() -> None:
    sizing = Sizing(100, OWN_GPUS, utilization=0.5, max_wait_s=1000)
    fast_b = pipeline(10.0)
    slow_b = fast_b | {"b": StageLoad((10.0, 10.0), 0.0, 0.5, 1, 1, 1000)}
    assert plan(sizing, 0.0, fast_b, {})[0] == {"c": 7, "b": 5, "a": 1}
    assert plan(sizing, 0.0, slow_b, {})[0]["b"] == 8


def test_a_small_stage_is_as_idle_as_asked_and_a_large_one_less_idle() -> None:
    sizing = Sizing(1000, OWN_GPUS, utilization=0.5, max_wait_s=1000)
    busy = {rate: plan(sizing, 0.0, pipeline(rate), {})[0]["c"] for rate in (3.0, 100.0, 400.0)}
    assert busy == {3.0: math.ceil(3 * 0.44 / 0.5), 100.0: 53, 400.0: 193}


def test_later_stages_grow_while_the_work_is_still_at_the_first() -> None:
    burst = {stage: load(0.0, 100.0, stage=stage) for stage in STABLE_CASCADE.names}
    replicas, _ = plan(Sizing(100, OWN_GPUS, max_wait_s=5), 0.0, burst, {})
    assert replicas == {"c": 9, "b": 5, "a": 1}


def test_vary_details_grows_stage_b_without_stage_c() -> None:
    vary = pipeline(8.0) | {"c": load(0.0)}
    replicas, _ = plan(Sizing(100, OWN_GPUS), 0.0, vary, {})
    assert replicas["c"] == 1
    assert replicas["b"] > 2


def test_a_stage_that_holds_on_to_its_replicas_gives_way_to_one_that_needs_them() -> None:
    minutes = Minutes(Sizing(8, {"c": 1, "b": 1, "a": 0}, hold_s=1000))
    minutes.run(1, {"c": load(100.0), "b": load(0.0, stage="b"), "a": load(0.0, stage="a")})
    assert minutes.replicas == {"c": 7, "b": 1, "a": 1}
    minutes.run(1, {"c": load(0.0), "b": load(7.0, stage="b"), "a": load(0.0, stage="a")})
    assert minutes.replicas == {"c": 4, "b": 4, "a": 1}


def test_a_budget_too_small_for_all_is_shared_by_need() -> None:
    short = {"c": load(100.0), "b": load(100.0, stage="b"), "a": load(0.0, stage="a")}
    replicas, _ = plan(Sizing(18, {"c": 1, "b": 1, "a": 0}), 0.0, short, {})
    assert replicas["c"] + replicas["b"] == 18
    assert replicas["c"] / replicas["b"] == pytest.approx(0.44 / 0.25, rel=0.2)


def test_replicas_are_kept_for_a_while_after_a_burst_and_then_go() -> None:
    minutes = Minutes(Sizing(100, OWN_GPUS, hold_s=60))
    busy = minutes.run(10, pipeline(20.0))[-1]
    quiet = minutes.run(120, pipeline(0.0))
    assert quiet[58] == busy
    assert quiet[62] == {"c": 1, "b": 1, "a": 1}


def test_a_stage_goes_to_zero_where_that_is_allowed_and_comes_back_at_the_first_work() -> None:
    minutes = Minutes(Sizing(100, OWN_GPUS, hold_s=30))
    minutes.run(10, pipeline(1.0, floor=0))
    assert minutes.run(60, pipeline(0.0, floor=0))[-1] == {"c": 0, "b": 0, "a": 0}
    assert minutes.run(1, pipeline(0.1, floor=0))[-1] == {"c": 1, "b": 1, "a": 1}


def test_a_stage_never_measured_gets_one_replica_to_measure() -> None:
    unknown = {stage: StageLoad((9.0, 9.0), 50.0, None, 0, 0, 10) for stage in STABLE_CASCADE.names}
    assert plan(Sizing(100, OWN_GPUS), 0.0, unknown, {})[0] == {"c": 1, "b": 1, "a": 1}


def test_at_first_what_runs_is_kept() -> None:
    replicas, _ = plan(Sizing(100, OWN_GPUS), 0.0, pipeline(0.0, target=6), {})
    assert replicas == {"c": 6, "b": 6, "a": 6}


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpu_budget": -1},
        {"gpu_budget": 1, "pods": [["b", "x"]]},
        {"gpu_budget": 1, "pods": [["b", "a"], ["b", "c"]]},
        {"gpu_budget": 1, "gpus": {"c": 1, "b": -1, "a": 0}},
        {"gpu_budget": 1, "max_wait_s": 0},
        {"gpu_budget": 1, "utilization": 1.5},
        {"gpu_budget": 1, "hold_s": -1},
    ],
)
def test_impossible_choices_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsInvalid):
        Sizing(**{"gpus": OWN_GPUS} | wrong)  # type: ignore[arg-type]
