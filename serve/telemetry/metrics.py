"""Records the metrics of `serve.telemetry.metric_definitions`; Ray exports them to Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from ray.serve.metrics import Counter, Gauge, Histogram

from cascade_core.errors import CascadeError
from cascade_core.job_states import OPEN_STATES
from serve.telemetry import metric_definitions as definitions
from serve.telemetry.metric_definitions import Metric

HandoffPart = Literal["encode", "store", "fetch"]


def _recorder(metric: Metric) -> Any:
    """Return Ray's object for a metric."""
    if metric.kind == "histogram":
        return Histogram(metric.name, metric.help, list(metric.buckets), tag_keys=metric.labels)
    kind = Counter if metric.kind == "counter" else Gauge
    return kind(metric.name, metric.help, tag_keys=metric.labels)


class _Request:
    """Measurements of one request through a stage."""

    def __init__(self) -> None:
        self.model_s: float | None = None

    def done(self, model_s: float) -> None:
        """Record the seconds that the model took."""
        self.model_s = model_s


class StageMetrics:
    """Latency, queue, speed, cost and errors of one stage replica.

    Args:
        stage: its name.
        hour_price: what an hour of the replica costs; 0: unknown.
    """

    def __init__(self, stage: str, hour_price: float = 0.0) -> None:
        self._stage = {"stage": stage}
        self._service = _recorder(definitions.STAGE_SERVICE)
        self._latency = _recorder(definitions.STAGE_LATENCY)
        self._errors = _recorder(definitions.STAGE_ERRORS)
        self._busy = _recorder(definitions.STAGE_BUSY)
        self._counted_busy_s = 0.0
        self._gpu_memory = _recorder(definitions.STAGE_GPU_MEMORY)
        self._price = _recorder(definitions.STAGE_HOUR_PRICE)
        self._hour_price = hour_price
        self._handoff = HandoffMetrics()
        self._gauges = {
            "rows_running": _recorder(definitions.STAGE_ROWS_RUNNING),
            "rows_waiting": _recorder(definitions.STAGE_ROWS_WAITING),
            "seconds_per_step": _recorder(definitions.STAGE_STEP),
            "knee_rows": _recorder(definitions.STAGE_KNEE_ROWS),
            "seconds_per_image": _recorder(definitions.STAGE_SECONDS_PER_IMAGE),
            "seconds_per_work": _recorder(definitions.STAGE_SECONDS_PER_WORK),
        }

    @contextmanager
    def request(self) -> Iterator[_Request]:
        """Measure one request; our errors are counted by code."""
        request = _Request()
        started_s = time.monotonic()
        try:
            yield request
        except CascadeError as error:
            self._errors.inc(tags=self._stage | {"code": error.code})
            raise
        finally:
            self._latency.observe(time.monotonic() - started_s, tags=self._stage)
            if request.model_s is not None:
                self._service.observe(request.model_s, tags=self._stage)

    def encoding(self) -> AbstractContextManager[None]:
        """Measure how long the block takes to encode the stage's result."""
        return self._handoff.timed(self._stage["stage"], "encode")

    def publish(
        self, stats: Mapping[str, float], busy_s: float, gpu_memory_bytes: int | None
    ) -> None:
        """Publish the state of the replica.

        Args:
            stats: of :class:`serve.stages.replica.StageReplica` and
                :class:`serve.stages.work_meter.WorkMeter`.
            busy_s: seconds that the model's thread has worked until now.
            gpu_memory_bytes: memory that this process holds; None without a GPU.
        """
        for name, gauge in self._gauges.items():
            gauge.set(stats[name], tags=self._stage)
        self._price.set(self._hour_price, tags=self._stage)
        if busy_s > self._counted_busy_s:
            self._busy.inc(busy_s - self._counted_busy_s, tags=self._stage)
            self._counted_busy_s = busy_s
        if gpu_memory_bytes is not None:
            self._gpu_memory.set(gpu_memory_bytes, tags=self._stage)


class HandoffMetrics:
    """Size and seconds of the hand-offs between stages."""

    def __init__(self) -> None:
        self._bytes = _recorder(definitions.HANDOFF_BYTES)
        self._seconds = _recorder(definitions.HANDOFF_SECONDS)

    def size(self, stage: str, size_bytes: int) -> None:
        """Count the size of a stage's result."""
        self._bytes.inc(size_bytes, tags={"stage": stage})

    @contextmanager
    def timed(self, stage: str, part: HandoffPart) -> Iterator[None]:
        """Measure the block, if it succeeds."""
        started_s = time.monotonic()
        yield
        took_s = time.monotonic() - started_s
        self._seconds.observe(took_s, tags={"stage": stage, "part": part})


class QueueMetrics:
    """The queues of one Jobs replica, one for each stage, and the calls that failed."""

    def __init__(self) -> None:
        self._calls = _recorder(definitions.QUEUE_CALLS)
        self._work = _recorder(definitions.QUEUE_WORK)
        self._wait = _recorder(definitions.QUEUE_WAIT)
        self._failures = _recorder(definitions.CALL_FAILURES)

    def waiting(self, stage: str, calls: int, work: float) -> None:
        """Publish how many calls wait in the queue of a stage, and their work."""
        self._calls.set(calls, tags={"stage": stage})
        self._work.set(work, tags={"stage": stage})

    def waited(self, stage: str, wait_s: float) -> None:
        """Record how long a call waited for its slot."""
        self._wait.observe(wait_s, tags={"stage": stage})

    def failed(self, stage: str, code: str) -> None:
        """Count a try that failed."""
        self._failures.inc(tags={"stage": stage, "code": code})


class JobMetrics:
    """Jobs by state, their latency, and their hand-offs from stage to stage."""

    def __init__(self) -> None:
        self.handoff = HandoffMetrics()
        self._ended = _recorder(definitions.JOBS)
        self._latency = _recorder(definitions.JOB_LATENCY)
        self._open = _recorder(definitions.JOBS_OPEN)

    def ended(self, kind: str, state: str, code: str, latency_s: float | None = None) -> None:
        """Count a job that ended, with its seconds if it ran to its end."""
        self._ended.inc(tags={"kind": kind, "state": state, "code": code})
        if latency_s is not None:
            self._latency.observe(latency_s, tags={"kind": kind})

    def open_jobs(self, counts: Mapping[str, int]) -> None:
        """Publish how many jobs of the whole service are open, by state."""
        for state in OPEN_STATES:
            self._open.set(counts.get(state, 0), tags={"state": state})


class RefusalMetrics:
    """Refusals of the checkers."""

    def __init__(self) -> None:
        self._refused = _recorder(definitions.REFUSALS)
        self._rejected = _recorder(definitions.REJECTIONS)

    def refused(self, rule: str, at: Literal["prompt", "upload", "preview"]) -> None:
        """Count a refusal."""
        self._refused.inc(tags={"rule": rule, "at": at})

    def rejected(self, rule: str) -> None:
        """Count a composition in whose place another one is made."""
        self._rejected.inc(tags={"rule": rule})
