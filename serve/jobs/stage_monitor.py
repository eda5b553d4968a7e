"""Follows the replicas of each stage, as Ray Serve reports them, and adapts the queues to them."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatusOverview, DeploymentStatusTrigger

from serve.fleet import application_status, running_replicas
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.storage.database import Database

LOOK_EVERY_S: Final = 2.0
"""How often :meth:`StageMonitor.look` is called."""
HOLD_LOOKS: Final = 3
"""For so many looks at most the calls to a stage without replicas are held back."""
OUTAGE_AFTER_S: Final = 120.0
"""A stage that fails to start for so long has an outage: its jobs fail. Shorter failures may pass
by themselves."""
_JOBS_DEPLOYMENT = "Jobs"


class StageMonitor:
    """Looks at the stages regularly; sets queue widths, reports outages and scaled-to-zero stages.

    Args:
        database: records scaled-to-zero stages, on which estimates of a job's end depend.
        handles: of the stage deployments, by the stages' keys.
        queues: of the calls to each stage.
        set_outages: called at each look with the stages that have an outage.
    """

    def __init__(
        self,
        database: Database,
        handles: Mapping[str, DeploymentHandle],
        queues: Mapping[str, FairQueue],
        set_outages: Callable[[set[str]], None],
    ) -> None:
        self._database = database
        self._handles = handles
        self._deployments = {stage: handle.deployment_name for stage, handle in handles.items()}
        self._queues = queues
        self._set_outages = set_outages
        self._outages = Outages()
        self._hold = ColdStartHold()
        self._rows: dict[str, int] = {}
        self._scaled_to_zero: set[str] | None = None  # not known yet

    async def look(self) -> None:
        """Read the status of the stages and apply it."""
        name = ray_serve.get_replica_context().app_name
        application = await asyncio.to_thread(application_status, name)
        running = running_replicas(application)
        self._report_outages(application)
        await self._record_scaled_to_zero(running)
        for stage in self._handles:
            await self._adapt_queue(stage, application, running)

    def _report_outages(self, application: ApplicationStatusOverview) -> None:
        failing = cannot_start(application)
        stages = (stage for stage, name in self._deployments.items() if name in failing)
        self._set_outages(self._outages.lasting(stages))

    async def _record_scaled_to_zero(self, running: Mapping[str, int]) -> None:
        stages = {stage for stage, name in self._deployments.items() if not running.get(name)}
        if stages != self._scaled_to_zero:
            await self._database.run(self._database.scaled_to_zero.record, stages)
            self._scaled_to_zero = stages

    async def _adapt_queue(
        self, stage: str, application: ApplicationStatusOverview, running: Mapping[str, int]
    ) -> None:
        """Let as many calls through as the stage has room for; none while they are held back."""
        name, queue = self._deployments[stage], self._queues[stage]
        if stage not in self._rows and running.get(name):
            self._rows[stage] = await self._handles[stage].max_rows.remote()
        is_held = self._hold.is_held(
            stage,
            has_replicas=has_replicas(application, name),
            has_work=queue.waiting_cost > 0,
        )
        queue.set_width(0 if is_held else width(running, name, self._rows.get(stage, 1)))


class ColdStartHold:
    """Holds the calls to a scaled-to-zero stage back until an autoscaling policy has acted.

    At the first call to such a stage Serve starts one replica, and no policy can start more until
    that one runs. A policy that sees how much work waits starts as many as the work needs. The
    calls are let through after a few looks in any case: they start the stage where no such policy
    is configured.
    """

    def __init__(self) -> None:
        self._looks: Counter[str] = Counter()

    def is_held(self, stage: str, *, has_replicas: bool, has_work: bool) -> bool:
        """Return True if the stage's calls have to wait; called at each look."""
        self._looks[stage] = 0 if has_replicas or not has_work else self._looks[stage] + 1
        return not has_replicas and self._looks[stage] < HOLD_LOOKS


class Outages:
    """Distinguishes stages that fail to start for long from those that fail for a moment.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since_s: dict[str, float] = {}

    def lasting(self, failing: Iterable[str]) -> set[str]:
        """Return which of the stages that fail now have failed for :data:`OUTAGE_AFTER_S`."""
        now_s = self._clock()
        self._since_s = {stage: self._since_s.get(stage, now_s) for stage in failing}
        return {
            stage for stage, since_s in self._since_s.items() if now_s - since_s >= OUTAGE_AFTER_S
        }


def has_replicas(application: ApplicationStatusOverview, deployment: str) -> bool:
    """Return True if a deployment has replicas that run or start; stopping ones do not count."""
    overview = application.deployments.get(deployment)
    states = overview.replica_states if overview else {}
    return any(count for state, count in states.items() if state != "STOPPING")


def cannot_start(application: ApplicationStatusOverview) -> set[str]:
    """Return the deployments without a running replica whose replicas fail to start.

    A deployment that is scaled to zero, starts for the first time, or has just lost its only
    replica is not among them.
    """
    return {
        name
        for name, overview in application.deployments.items()
        if overview.status_trigger == DeploymentStatusTrigger.REPLICA_STARTUP_FAILED
        and not overview.replica_states.get("RUNNING", 0)
    }


def width(running: Mapping[str, int], deployment: str, rows: int) -> int:
    """Return one Jobs replica's share of a stage, in images worked on at a time.

    At least one, so that Serve learns that there is work for a stage without replicas.

    Args:
        running: replicas by deployment.
        deployment: of the stage.
        rows: images that one replica of the stage works on at a time.
    """
    jobs_replicas = max(1, running.get(_JOBS_DEPLOYMENT, 0))
    return max(1, math.ceil(running.get(deployment, 0) * rows / jobs_replicas))
