"""A discrete-event simulation of the pipeline: jobs, three stages, replicas that start slowly.

Each stage takes images in the order of their arrival from one queue, one image per replica at a
time. A policy is asked once a second. A replica costs its GPUs from the moment it is asked for
until it ends; one that is no longer wanted ends with its image.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import simpy

from bench.autoscale.traces import Arrival
from cascade_core.families.stable_cascade import STABLE_CASCADE

STAGES_OF = {
    kind: [stage.name for stage in operation.route(STABLE_CASCADE.stages)]
    for kind, operation in STABLE_CASCADE.operations.items()
}
TICK_S = 1.0
_SETTLE_S = 600.0
"""How long after the last arrival the simulation ends at the latest."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The machine.

    Attributes:
        service_s: seconds per image, by stage.
        gpus: GPUs per replica, by stage.
        floor, cap: fewest and most replicas, by stage.
        start_s: constant part of a replica's start.
        load_median_s, load_p95_s: of the rest, which is log-normal.
        overhead_s: of each job, outside the stages.
    """

    service_s: Mapping[str, float]
    gpus: Mapping[str, float]
    floor: Mapping[str, int]
    cap: Mapping[str, int]
    start_s: float = 3.0
    load_median_s: float = 22.7
    load_p95_s: float = 45.0
    overhead_s: float = 0.0

    def cold_start_s(self, rng: random.Random) -> float:
        """Draw how long a replica takes until it answers."""
        sigma = math.log(self.load_p95_s / self.load_median_s) / 1.645
        return self.start_s + rng.lognormvariate(math.log(self.load_median_s), sigma)

    def solo_s(self, kind: str, images: int) -> float:
        """Return the latency of a job alone on one replica per stage."""
        seconds = [self.service_s[stage] for stage in STAGES_OF[kind]]
        return self.overhead_s + sum(seconds) + (images - 1) * max(seconds)


class Policy(Protocol):
    """Decides how many replicas each stage gets.

    Attributes:
        sees_late_s: longest time between the start of a replica and its first work.
    """

    sees_late_s: float

    def accepted(self, now_s: float, kind: str, images: int) -> None:
        """Learn of a job at the moment of its acceptance."""

    def decide(self, now_s: float, stages: Mapping[str, Stage]) -> dict[str, int]:
        """Return the wanted replicas; called once a second."""


@dataclass(slots=True, eq=False)
class Replica:
    """One process of a stage."""

    asked_s: float
    is_ready: bool = False
    is_busy: bool = False
    is_wanted: bool = True


@dataclass(slots=True)
class Stage:
    """Queue and replicas of one stage.

    Attributes:
        ahead: images accepted for this stage that have not got to it yet.
        gpu_s: GPU-seconds of replicas that have ended.
    """

    name: str
    queue: deque[Job] = field(default_factory=deque)
    replicas: list[Replica] = field(default_factory=list)
    idle: list[Replica] = field(default_factory=list)
    busy: int = 0
    ahead: int = 0
    target: int = 0
    replica_s: float = 0.0

    @property
    def ready(self) -> int:
        """Replicas that answer and are wanted."""
        return sum(replica.is_ready and replica.is_wanted for replica in self.replicas)

    @property
    def ongoing(self) -> int:
        """Images queued for this stage or in it."""
        return len(self.queue) + self.busy


@dataclass(slots=True, eq=False)
class Job:
    """A job and how many of its images are still to come."""

    at_s: float
    kind: str
    images: int
    left: int
    ended_s: float = math.nan


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a simulation.

    Attributes:
        jobs: all of them, also those that never ended.
        gpu_s: GPU-seconds of all replicas.
        history: seconds and, by stage, target, ready replicas and queue; one row a second.
    """

    jobs: list[Job]
    gpu_s: float
    history: list[tuple[float, dict[str, tuple[int, int, int]]]]


def simulate(
    arrivals: Sequence[Arrival], scenario: Scenario, policy: Policy, seed: int = 0
) -> Outcome:
    """Play a trace against a policy.

    Args:
        arrivals: in order of time.
        scenario: the machine.
        policy: a fresh one.
        seed: of the cold starts.
    """
    run = _Run(scenario, policy, random.Random(seed))
    run.env.process(run.arrive(arrivals))
    run.env.process(run.control(arrivals[-1].at_s + _SETTLE_S))
    run.env.run()
    return run.outcome()


class _Run:
    def __init__(self, scenario: Scenario, policy: Policy, rng: random.Random) -> None:
        self.env = simpy.Environment()
        self._scenario = scenario
        self._policy = policy
        self._rng = rng
        self._stages = {name: Stage(name) for name in STABLE_CASCADE.names}
        self._jobs: list[Job] = []
        self._open = 0
        self._has_arrived = False
        self._history: list[tuple[float, dict[str, tuple[int, int, int]]]] = []
        for name, stage in self._stages.items():
            stage.target = scenario.floor[name]
            for _ in range(stage.target):
                replica = Replica(0.0, is_ready=True)
                stage.replicas.append(replica)
                stage.idle.append(replica)

    def arrive(self, arrivals: Sequence[Arrival]) -> Any:
        for arrival in arrivals:
            yield self.env.timeout(max(0.0, arrival.at_s - self.env.now))
            job = Job(arrival.at_s, arrival.kind, arrival.images, arrival.images)
            self._jobs.append(job)
            self._open += 1
            self._policy.accepted(self.env.now, job.kind, job.images)
            path = STAGES_OF[job.kind]
            for name in path[1:]:
                self._stages[name].ahead += job.images
            self._stages[path[0]].queue.extend([job] * job.images)
            self._dispatch(self._stages[path[0]])
        self._has_arrived = True

    def control(self, end_s: float) -> Any:
        while self.env.now < end_s and not (self._has_arrived and self._open == 0):
            wanted = self._policy.decide(self.env.now, self._stages)
            for name, count in wanted.items():
                self._scale(self._stages[name], count)
            row = {
                name: (stage.target, stage.ready, stage.ongoing)
                for name, stage in self._stages.items()
            }
            self._history.append((self.env.now, row))
            yield self.env.timeout(TICK_S)
        for stage in self._stages.values():
            for replica in list(stage.replicas):
                self._end(stage, replica)

    def outcome(self) -> Outcome:
        gpu_s = sum(
            stage.replica_s * self._scenario.gpus[name] for name, stage in self._stages.items()
        )
        return Outcome(self._jobs, gpu_s, self._history)

    def _dispatch(self, stage: Stage) -> None:
        while stage.queue and stage.idle:
            replica, job = stage.idle.pop(), stage.queue.popleft()
            replica.is_busy = True
            stage.busy += 1
            self._after(
                self._scenario.service_s[stage.name], partial(self._done, stage, replica, job)
            )

    def _done(self, stage: Stage, replica: Replica, job: Job) -> None:
        replica.is_busy = False
        stage.busy -= 1
        if replica.is_wanted:
            stage.idle.append(replica)
        else:
            self._end(stage, replica)
        path = STAGES_OF[job.kind]
        following = path[path.index(stage.name) + 1 :]
        if following:
            after = self._stages[following[0]]
            after.ahead -= 1
            after.queue.append(job)
            self._dispatch(after)
        else:
            self._image_ended(job)
        self._dispatch(stage)

    def _image_ended(self, job: Job) -> None:
        job.left -= 1
        if job.left == 0:
            job.ended_s = self.env.now + self._scenario.overhead_s
            self._open -= 1

    def _scale(self, stage: Stage, count: int) -> None:
        stage.target = count
        wanted = [replica for replica in stage.replicas if replica.is_wanted]
        for _ in range(count - len(wanted)):
            replica = Replica(self.env.now)
            stage.replicas.append(replica)
            late_s = self._rng.uniform(0.0, self._policy.sees_late_s)
            start_s = self._scenario.cold_start_s(self._rng) + late_s
            self._after(start_s, partial(self._started, stage, replica))
        if count < len(wanted):
            # As Serve: first what is not up yet, then what is idle, then what is busy.
            wanted.sort(key=lambda replica: (replica.is_ready, replica.is_busy))
            for replica in wanted[: len(wanted) - count]:
                self._stop(stage, replica)

    def _started(self, stage: Stage, replica: Replica) -> None:
        if replica.is_wanted:
            replica.is_ready = True
            stage.idle.append(replica)
            self._dispatch(stage)

    def _stop(self, stage: Stage, replica: Replica) -> None:
        replica.is_wanted = False
        if not replica.is_busy:
            if replica.is_ready:
                stage.idle.remove(replica)
            self._end(stage, replica)

    def _end(self, stage: Stage, replica: Replica) -> None:
        stage.replica_s += self.env.now - replica.asked_s
        stage.replicas.remove(replica)

    def _after(self, delay_s: float, do: Callable[[], None]) -> None:
        event = self.env.timeout(delay_s)
        event.callbacks.append(lambda _: do())
