"""Our Prometheus metrics; Serve tags each with deployment, replica and application."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from ray.serve.metrics import Counter, Gauge, Histogram

from cascade_core.errors import CascadeError

LATENCY_BUCKETS_S = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320]


class _Request:
    """Collects what one request through a stage will report."""

    def __init__(self) -> None:
        self.model_s: float | None = None

    def done(self, model_s: float) -> None:
        """Note the seconds the model took."""
        self.model_s = model_s


class StageMetrics:
    """Latency, queue and errors of one stage replica."""

    def __init__(self, stage: str) -> None:
        self._service = Histogram(
            "cascade_stage_service_seconds",
            "Seconds on the model per image.",
            LATENCY_BUCKETS_S,
            tag_keys=("stage",),
        )
        self._latency = Histogram(
            "cascade_stage_latency_seconds",
            "Seconds in the replica per image, waiting included.",
            LATENCY_BUCKETS_S,
            tag_keys=("stage",),
        )
        self._errors = Counter(
            "cascade_stage_errors", "Failed images by error code.", tag_keys=("stage", "code")
        )
        self._rows = Gauge("cascade_stage_rows_running", "Images under way.", tag_keys=("stage",))
        self._waiting = Gauge("cascade_stage_rows_waiting", "Images waiting.", tag_keys=("stage",))
        for metric in (self._service, self._latency, self._errors, self._rows, self._waiting):
            metric.set_default_tags({"stage": stage})

    @contextmanager
    def request(self) -> Iterator[_Request]:
        """Measure one request; our errors are counted by code."""
        request = _Request()
        started_s = time.monotonic()
        try:
            yield request
        except CascadeError as error:
            self._errors.inc(tags={"code": error.code})
            raise
        finally:
            self._latency.observe(time.monotonic() - started_s)
            if request.model_s is not None:
                self._service.observe(request.model_s)

    def rows(self, stats: Mapping[str, float]) -> None:
        """Publish how many images are under way and waiting."""
        self._rows.set(stats["rows_running"])
        self._waiting.set(stats["rows_waiting"])


class JobMetrics:
    """Jobs by end state, their latency, and how many are open."""

    def __init__(self) -> None:
        self._ended = Counter("cascade_jobs", "Finished jobs.", tag_keys=("kind", "state", "code"))
        self._latency = Histogram(
            "cascade_job_latency_seconds",
            "Seconds from acceptance to the end.",
            LATENCY_BUCKETS_S,
            tag_keys=("kind",),
        )
        self._open = Gauge("cascade_jobs_open", "Jobs queued or running in this replica.")

    def ended(self, kind: str, state: str, code: str, latency_s: float) -> None:
        """Count a job that reached its end state."""
        self._ended.inc(tags={"kind": kind, "state": state, "code": code})
        self._latency.observe(latency_s, tags={"kind": kind})

    def open_jobs(self, count: int) -> None:
        """Publish how many jobs this replica has under way."""
        self._open.set(count)


class RefusalMetrics:
    """What the checkers refused."""

    def __init__(self) -> None:
        self._refused = Counter(
            "cascade_refusals",
            "Prompts and compositions (previews) that a checker refused.",
            tag_keys=("rule", "at"),
        )

    def refused(self, rule: str, at: Literal["prompt", "preview"]) -> None:
        """Count a refusal."""
        self._refused.inc(tags={"rule": rule, "at": at})
