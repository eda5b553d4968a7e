"""The compared policies, each with the delays that its figures have in Ray Serve."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray.serve._private.common import DeploymentID
from ray.serve.autoscaling_policy import (
    _apply_delay_logic,
    _apply_scaling_factors,
    replica_queue_length_autoscaling_policy,
)
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from bench.autoscale.simulator import STAGES_OF, Scenario, Stage
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.autoscaling.demand import Arrivals
from serve.autoscaling.policy import Peaks, Sizing, StageLoad, plan

_RECORD_FACTOR = 0.2
"""Serve's RAY_SERVE_AUTOSCALING_METRIC_RECORD_INTERVAL_FACTOR."""


class Static:
    """Keeps the number of replicas of the start."""

    sees_late_s = 0.0

    def __init__(self, replicas: Mapping[str, int]) -> None:
        self._replicas = dict(replicas)

    def accepted(self, now_s: float, kind: str, images: int) -> None:
        """Do nothing: the number is fixed."""

    def decide(self, now_s: float, stages: Mapping[str, Stage]) -> dict[str, int]:
        """Return the fixed number."""
        return self._replicas


class Ours:
    """`serve.autoscaling.policy.plan`, fed as in Ray Serve.

    Jobs and stages record once a second and send once a second, so what the policy sees is about a
    second old. Jobs looks every two seconds which replicas are up.

    Args:
        scenario: for floors, caps and the service rates, which a stage measures.
        sizing: the operator's choices.
    """

    sees_late_s = 2.0

    def __init__(self, scenario: Scenario, sizing: Sizing) -> None:
        self._scenario = scenario
        self._sizing = sizing
        self._now_s = 0.0
        self._arrivals = {stage: Arrivals(lambda: self._now_s) for stage in STABLE_CASCADE.names}
        self._peaks: dict[str, Peaks] = {}
        self._sent: dict[str, tuple[tuple[float, ...], float]] = {}

    def accepted(self, now_s: float, kind: str, images: int) -> None:
        """Count the images for each stage that they will pass."""
        self._now_s = now_s
        for stage in STAGES_OF[kind]:
            self._arrivals[stage].add(images)

    def decide(self, now_s: float, stages: Mapping[str, Stage]) -> dict[str, int]:
        """Decide on what was sent a second ago."""
        self._now_s = now_s
        seen = self._sent or {name: ((0.0,), 0.0) for name in STABLE_CASCADE.names}
        self._sent = {
            name: (self._arrivals[name].rates(), float(stage.ahead + stage.ongoing))
            for name, stage in stages.items()
        }
        loads = {
            name: StageLoad(
                arriving=seen[name][0],
                open_work=seen[name][1],
                seconds_per_work=self._scenario.service_s[name],
                target=stage.target,
                floor=self._scenario.floor[name],
                cap=self._scenario.cap[name],
            )
            for name, stage in stages.items()
        }
        replicas, self._peaks = plan(self._sizing, now_s, loads, self._peaks)
        return replicas


@dataclass(slots=True)
class _Handle:
    """Samples of one deployment's handle, and what of them the controller has got."""

    samples: deque[tuple[float, float]] = field(default_factory=deque)
    sent: list[tuple[float, float]] = field(default_factory=list)
    recorded_s: float = -math.inf
    sent_s: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)

    def mean(self, now_s: float) -> float:
        """Return the time-weighted mean of what was sent; the last value holds until now."""
        if not self.sent or now_s <= self.sent[0][0]:
            return 0.0
        ends = [*(at_s for at_s, _ in self.sent[1:]), now_s]
        areas = (
            value * (end_s - at_s) for (at_s, value), end_s in zip(self.sent, ends, strict=True)
        )
        return sum(areas) / (now_s - self.sent[0][0])


class ServeDefault:
    """Ray Serve's default policy per deployment: its own code, with handle metrics modelled.

    Calls wait at the handles, without our fair queue, which would hide them. A handle records
    queued and running calls every fifth of the look-back period and sends what it has of that
    period every ``metrics_interval_s``; the controller takes the time-weighted mean. Factors,
    delays and bounds are applied by Serve's functions.

    Args:
        scenario: for floors and caps.
        settings: fields of Serve's AutoscalingConfig.
    """

    sees_late_s = 0.0

    def __init__(self, scenario: Scenario, **settings: Any) -> None:
        self._configs = {
            stage: AutoscalingConfig(
                min_replicas=scenario.floor[stage], max_replicas=scenario.cap[stage], **settings
            )
            for stage in STABLE_CASCADE.names
        }
        self._handles = {stage: _Handle() for stage in STABLE_CASCADE.names}

    def accepted(self, now_s: float, kind: str, images: int) -> None:
        """Do nothing: this policy does not see jobs."""

    def decide(self, now_s: float, stages: Mapping[str, Stage]) -> dict[str, int]:
        """Ask Serve's policy for each stage."""
        return {name: self._decide(now_s, stage) for name, stage in stages.items()}

    def _decide(self, now_s: float, stage: Stage) -> int:
        config, handle = self._configs[stage.name], self._handles[stage.name]
        self._measure(now_s, stage, handle, config)
        context = _context(stage, config, handle.mean(now_s), now_s)
        wanted, _ = replica_queue_length_autoscaling_policy(context)
        count = _apply_scaling_factors(wanted, context.current_num_replicas, config)
        count, handle.state = _apply_delay_logic(
            max(0, count), stage.target, config, handle.state, _now=now_s
        )
        bounded: int = max(config.min_replicas, min(config.max_replicas, math.ceil(count)))
        return bounded

    def _measure(
        self, now_s: float, stage: Stage, handle: _Handle, config: AutoscalingConfig
    ) -> None:
        every_s = min(_RECORD_FACTOR * config.look_back_period_s, config.metrics_interval_s)
        if now_s - handle.recorded_s >= every_s:
            handle.samples.append((now_s, float(stage.ongoing)))
            handle.recorded_s = now_s
        if now_s - handle.sent_s >= config.metrics_interval_s:
            while handle.samples[0][0] < now_s - config.look_back_period_s:
                handle.samples.popleft()
            handle.sent, handle.sent_s = list(handle.samples), now_s


def _context(
    stage: Stage, config: AutoscalingConfig, total: float, now_s: float
) -> AutoscalingContext:
    return AutoscalingContext(
        deployment_id=DeploymentID(name=stage.name, app_name="simulated"),
        deployment_name=stage.name,
        app_name="simulated",
        current_num_replicas=stage.ready,
        target_num_replicas=stage.target,
        running_replicas=[],
        total_num_requests=total,
        total_queued_requests=0.0,
        aggregated_metrics={},
        raw_metrics={},
        capacity_adjusted_min_replicas=config.min_replicas,
        capacity_adjusted_max_replicas=config.max_replicas,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now_s,
        config=config,
    )
