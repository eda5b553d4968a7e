"""Adapts `serve.autoscaling.policy` to Ray Serve; the Serve config file names the class.

    autoscaling_policy:
      policy_function: serve.autoscaling.serve_policy:PipelinePolicy
      policy_kwargs: {gpu_budget: 8, gpus: {c: 1, b: 0.5, a: 0.5}}

Serve calls the policy about ten times a second, so the policy never waits. Serve passes only
deployments that have an autoscaling config. So Jobs needs such a config, too, although the policy
does not change its number of replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ray.serve.config import AutoscalingContext

from cascade_core.errors import SettingsInvalid
from cascade_core.families.registry import OWN_GPUS
from cascade_core.families.stage_info import key_of_deployment, stage_name
from serve.autoscaling.demand import arriving_key, open_work_key
from serve.autoscaling.policy import RATE_WINDOWS_S, Peaks, Sizing, StageLoad, plan

JOBS = "Jobs"

Contexts = Mapping[Any, AutoscalingContext]
Decisions = tuple[dict[Any, int], dict[Any, dict[str, Any]]]


class PipelinePolicy:
    """An application-level autoscaling policy; its state is in Serve's ``policy_state``.

    Args:
        sizing: the arguments of :class:`serve.autoscaling.policy.Sizing`. A stage that ``gpus``
            leaves out takes what its family says; see :attr:`StageInfo.key` for the names of
            stages of several models.

    Raises:
        SettingsInvalid: a value is outside its range, or ``gpus`` names what is no stage.
    """

    def __init__(self, **sizing: Any) -> None:
        gpus = sizing.get("gpus", {})
        for key in gpus:
            if stage_name(key) not in OWN_GPUS:
                known = ", ".join(OWN_GPUS)
                raise SettingsInvalid(f"gpus names {key}, but the stages are {known}")
        self._sizing = Sizing(**sizing | {"gpus": OWN_GPUS | gpus})

    def __call__(self, contexts: Contexts) -> Decisions:
        """Return the replicas of the stages; without metrics from Jobs, no stage changes."""
        by_name = {context.deployment_name: key for key, context in contexts.items()}
        stages = {name: key_of_deployment(name) for name in by_name}
        keys = {stage: by_name[name] for name, stage in stages.items() if stage is not None}
        state = {key: dict(context.policy_state) for key, context in contexts.items()}
        demand = _sums(contexts[by_name[JOBS]]) if JOBS in by_name else {}
        if not keys or not all(open_work_key(stage) in demand for stage in keys):
            return {}, state
        loads = {stage: _load(stage, contexts[key], demand) for stage, key in keys.items()}
        peaks: dict[str, Peaks] = {
            stage: contexts[key].policy_state.get("peaks", []) for stage, key in keys.items()
        }
        now_s = max(contexts[key].current_time or 0.0 for key in keys.values())
        replicas, kept = plan(self._sized(keys), now_s, loads, peaks)
        for stage, key in keys.items():
            state[key]["peaks"] = kept[stage]
            state[key]["seconds_per_work"] = loads[stage].seconds_per_work
        return {key: replicas[stage] for stage, key in keys.items()}, state

    def _sized(self, stages: Iterable[str]) -> Sizing:
        """Return the sizing with the GPUs of each of these stages."""
        gpus = self._sizing.gpus
        own = {stage: gpus.get(stage, gpus[stage_name(stage)]) for stage in stages}
        return replace(self._sizing, gpus={**gpus, **own})


def _load(stage: str, context: AutoscalingContext, demand: Mapping[str, float]) -> StageLoad:
    measured = [rate for rate in _latest(context).get("seconds_per_work", []) if rate > 0]
    # A stage without replicas reports nothing, so its last measurement is remembered.
    remembered = context.policy_state.get("seconds_per_work")
    return StageLoad(
        arriving=tuple(demand[arriving_key(stage, window_s)] for window_s in RATE_WINDOWS_S),
        open_work=demand[open_work_key(stage)],
        seconds_per_work=sum(measured) / len(measured) if measured else remembered,
        target=context.target_num_replicas,
        floor=context.capacity_adjusted_min_replicas,
        cap=context.capacity_adjusted_max_replicas,
    )


def _sums(context: AutoscalingContext) -> dict[str, float]:
    return {name: sum(values) for name, values in _latest(context).items()}


def _latest(context: AutoscalingContext) -> dict[str, list[float]]:
    """Return the newest value of each metric from each replica that has reported it."""
    found: dict[str, list[float]] = {}
    for name, by_replica in (context.raw_metrics or {}).items():
        found[name] = [series[-1].value for series in by_replica.values() if series]
    return {name: values for name, values in found.items() if values}
