"""Every metric of the service, defined once: recorders, dashboard and alerts refer to these.

Imports no Ray, so that commands that only need the names start fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

LATENCY_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320)
HANDOFF_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 15)

_SUFFIXES: Final = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; Ray Serve adds the labels ``deployment``, ``replica`` and ``application``.

    Ray estimates the ``_sum`` of a histogram from the middles of its buckets: use quantiles, or
    counters for a mean.

    Attributes:
        name: ends in its unit, if it has one; Ray puts ``ray_`` in front of it.
        help: one sentence.
        buckets: upper bounds of a histogram.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series in Prometheus."""
        return tuple(f"ray_{self.name}{suffix}" for suffix in _SUFFIXES[self.kind])


STAGE_SERVICE = Metric(
    name="cascade_stage_service_seconds",
    kind="histogram",
    help="Seconds on the model per image, without its preparation, such as encoding the prompt.",
    labels=("stage",),
    buckets=LATENCY_BUCKETS_S,
)
STAGE_LATENCY = Metric(
    name="cascade_stage_latency_seconds",
    kind="histogram",
    help="Seconds in the replica per image, including the wait.",
    labels=("stage",),
    buckets=LATENCY_BUCKETS_S,
)
STAGE_ERRORS = Metric(
    name="cascade_stage_errors",
    kind="counter",
    help="Failed images by error code.",
    labels=("stage", "code"),
)
STAGE_ROWS_RUNNING = Metric(
    name="cascade_stage_rows_running",
    kind="gauge",
    help="Images that the replica works on.",
    labels=("stage",),
)
STAGE_ROWS_WAITING = Metric(
    name="cascade_stage_rows_waiting",
    kind="gauge",
    help="Images waiting in the replica.",
    labels=("stage",),
)
STAGE_STEP = Metric(
    name="cascade_stage_step_seconds",
    kind="gauge",
    help="Seconds per step, averaged over the last steps.",
    labels=("stage",),
)
STAGE_KNEE_ROWS = Metric(
    name="cascade_stage_knee_rows",
    kind="gauge",
    help="Images up to which it paid to share a step, measured at the start with small ones; 0 if "
    "that was not measured.",
    labels=("stage",),
)
STAGE_BUSY = Metric(
    name="cascade_stage_busy_seconds",
    kind="counter",
    help="Seconds that the model's thread has worked.",
    labels=("stage",),
)
STAGE_SECONDS_PER_IMAGE = Metric(
    name="cascade_stage_image_seconds",
    kind="gauge",
    help="Recent seconds of the replica per image; images that share steps share the time.",
    labels=("stage",),
)
STAGE_SECONDS_PER_WORK = Metric(
    name="cascade_stage_work_seconds",
    kind="gauge",
    help="Recent seconds of the replica per unit of work.",
    labels=("stage",),
)
STAGE_GPU_MEMORY = Metric(
    name="cascade_stage_gpu_memory_bytes",
    kind="gauge",
    help="GPU memory that the replica holds; absent without a GPU.",
    labels=("stage",),
)
STAGE_HOUR_PRICE = Metric(
    name="cascade_stage_hour_price",
    kind="gauge",
    help="Price of an hour of the replica, as set; 0 if unknown.",
    labels=("stage",),
)
QUEUE_CALLS = Metric(
    name="cascade_queue_calls",
    kind="gauge",
    help="Calls of this Jobs replica that wait in the queue of a stage.",
    labels=("stage",),
)
QUEUE_WORK = Metric(
    name="cascade_queue_work",
    kind="gauge",
    help="Work of the waiting calls; multiplied by the stage's seconds per unit of work it is the "
    "seconds of waiting work.",
    labels=("stage",),
)
QUEUE_WAIT = Metric(
    name="cascade_queue_wait_seconds",
    kind="histogram",
    help="Seconds that a call waited in the queue of a stage.",
    labels=("stage",),
    buckets=LATENCY_BUCKETS_S,
)
CALL_FAILURES = Metric(
    name="cascade_call_failures",
    kind="counter",
    help="Failed tries of calls to a stage, by error code; most are tried again.",
    labels=("stage", "code"),
)
HANDOFF_BYTES = Metric(
    name="cascade_handoff_bytes",
    kind="counter",
    help="Bytes of a stage's results: latents, or the last stage's images.",
    labels=("stage",),
)
HANDOFF_SECONDS = Metric(
    name="cascade_handoff_seconds",
    kind="histogram",
    help="Seconds to encode, store or fetch a stage's result.",
    labels=("stage", "part"),
    buckets=HANDOFF_BUCKETS_S,
)
JOBS = Metric(
    name="cascade_jobs",
    kind="counter",
    help="Jobs that ended, each once; a draft that waits has not ended.",
    labels=("kind", "state", "code"),
)
JOB_LATENCY = Metric(
    name="cascade_job_latency_seconds",
    kind="histogram",
    help="Seconds that a job took to its end, without the time that a draft waited.",
    labels=("kind",),
    buckets=LATENCY_BUCKETS_S,
)
JOBS_OPEN = Metric(
    name="cascade_jobs_open",
    kind="gauge",
    help="Open jobs of the whole service by state; each Jobs replica reports the same.",
    labels=("state",),
)
REFUSALS = Metric(
    name="cascade_refusals",
    kind="counter",
    help="Prompts, uploads and compositions (previews) that a checker refused.",
    labels=("rule", "at"),
)
REJECTIONS = Metric(
    name="cascade_rejections",
    kind="counter",
    help="Compositions that a checker rejected and that were made anew with other seeds.",
    labels=("rule",),
)

METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
