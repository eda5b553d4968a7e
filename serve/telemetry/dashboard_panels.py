"""The panels of the Grafana dashboard.

From top to bottom they narrow a slow job down: the whole service or one stage; there the queue, the
steps, the hand-off, too few replicas, or a replica that starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cascade_core.families.registry import STAGE_NAMES
from serve.telemetry import metric_definitions as m
from serve.telemetry.metric_definitions import Metric

HTTP_REQUESTS = Metric(
    name="serve_num_http_requests",
    kind="counter",
    help="Requests that Ray Serve answered.",
    labels=("route", "method", "application", "status_code"),
)
HTTP_LATENCY_MS = Metric(
    name="serve_http_request_latency_ms",
    kind="histogram",
    help="Milliseconds from the request to the end of its answer; event streams last as long as "
    "their jobs.",
    labels=("route", "method", "application", "status_code"),
)
REPLICAS = Metric(
    name="serve_deployment_replica_healthy",
    kind="gauge",
    help="Running replicas.",
    labels=("deployment", "application"),
)
TARGET_REPLICAS = Metric(
    name="serve_autoscaling_target_replicas",
    kind="gauge",
    help="Replicas that the autoscaling policy asks for.",
    labels=("deployment", "application"),
)
STARTUP_MS = Metric(
    name="serve_replica_startup_latency_ms",
    kind="histogram",
    help="Milliseconds until a new replica answers: node, image, weights, warm-up.",
    labels=("deployment", "application"),
)
GPU_USE = Metric(
    name="node_gpus_utilization", kind="gauge", help="Percent.", labels=("ip", "GpuIndex")
)
RAY_METRICS: Final = (
    HTTP_REQUESTS,
    HTTP_LATENCY_MS,
    REPLICAS,
    TARGET_REPLICAS,
    STARTUP_MS,
    GPU_USE,
)

_WINDOW = "$__rate_interval"
_LONG = "30m"


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph.

    Attributes:
        unit: Grafana's name of the unit.
        queries: PromQL, and the legend of its lines.
        why: what the operator learns from the panel.
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    why: str


def _rate(metric: Metric, by: str, window: str = _WINDOW) -> str:
    name = metric.series[1] if metric.kind == "histogram" else metric.series[0]
    return f"sum by ({by}) (rate({name}[{window}]))"


def _quantile(quantile: float, metric: Metric, by: str) -> str:
    buckets = f"sum by (le, {by}) (rate({metric.series[0]}[{_WINDOW}]))"
    return f"histogram_quantile({quantile}, {buckets})"


def _gauge(aggregation: str, metric: Metric, by: str) -> str:
    return f"{aggregation} by ({by}) ({metric.series[0]})"


def _spread(metric: Metric, by: str, legend: str) -> tuple[tuple[str, str], ...]:
    return tuple((_quantile(q, metric, by), f"{legend} p{round(q * 100)}") for q in (0.5, 0.95))


_SECONDS_WAITING = " * ".join(
    (
        _gauge("sum", m.QUEUE_WORK, "stage"),
        f"on (stage) {_gauge('avg', m.STAGE_SECONDS_PER_WORK, 'stage')}",
    )
)
_PRICES = tuple(f"CASCADE_HOUR_PRICE_{name.upper()}" for name in STAGE_NAMES)
_SPENDING = _gauge("sum", m.STAGE_HOUR_PRICE, "stage")
_BUSY_COST = " * ".join(
    (
        _gauge("avg", m.STAGE_SECONDS_PER_IMAGE, "stage"),
        f"on (stage) {_gauge('avg', m.STAGE_HOUR_PRICE, 'stage')} / 3600",
    )
)
_FULL_COST = f"{_SPENDING} / 3600 / on (stage) {_rate(m.STAGE_SERVICE, 'stage', _LONG)}"
_STORED = f'sum by (stage) (rate({m.HANDOFF_SECONDS.series[1]}{{part="store"}}[{_WINDOW}]))'
_HANDOFF_SIZE = f"{_rate(m.HANDOFF_BYTES, 'stage')} / on (stage) {_STORED}"
_STARTS = f"histogram_quantile(0.95, {_gauge('sum', STARTUP_MS, 'le, deployment')})"
"""Over all starts that Serve's controller has seen: a short window rarely contains one."""
_BUSY_SHARE = f"avg by (stage) (rate({m.STAGE_BUSY.series[0]}[{_WINDOW}]))"

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Jobs": (
        Panel(
            "Open jobs",
            "short",
            ((_gauge("max", m.JOBS_OPEN, "state"), "{{state}}"),),
            "If the queued jobs grow, more work arrives than the stages can do.",
        ),
        Panel(
            "Job latency",
            "s",
            _spread(m.JOB_LATENCY, "kind", "{{kind}}"),
            "From acceptance to the end. If it rises, the rows below show where.",
        ),
        Panel(
            "Jobs ended",
            "ops",
            ((_rate(m.JOBS, "state"), "{{state}}"),),
            "Per second, by end state.",
        ),
        Panel(
            "Failed jobs",
            "ops",
            (
                (
                    f'sum by (code) (rate({m.JOBS.series[0]}{{state="failed"}}[{_WINDOW}]))',
                    "{{code}}",
                ),
            ),
            "By error code. deadline_exceeded: too slow; stage_lost: replicas crash.",
        ),
        Panel(
            "Requests",
            "reqps",
            ((_rate(HTTP_REQUESTS, "status_code"), "{{status_code}}"),),
            "HTTP answers by status. 429: limits or too many open jobs; 503: not ready.",
        ),
        Panel(
            "HTTP latency, p95",
            "ms",
            ((_quantile(0.95, HTTP_LATENCY_MS, "route"), "{{route}}"),),
            "Event streams and requests that wait last as long as their jobs.",
        ),
    ),
    "Where the time goes": (
        Panel(
            "Seconds of waiting work",
            "s",
            ((_SECONDS_WAITING, "{{stage}}"),),
            "The time that one replica would need for the calls that wait for each stage.",
        ),
        Panel(
            "Calls waiting for a slot",
            "short",
            ((_gauge("sum", m.QUEUE_CALLS, "stage"), "{{stage}}"),),
            "The queue of each stage.",
        ),
        Panel(
            "Wait for a slot",
            "s",
            _spread(m.QUEUE_WAIT, "stage", "{{stage}}"),
            "How long a job waits in the queue. If high, this stage needs more replicas.",
        ),
        Panel(
            "Service time",
            "s",
            _spread(m.STAGE_SERVICE, "stage", "{{stage}}"),
            "On the model, per image. If high with a normal step time, clients ask for more steps, "
            "or pictures of other sizes share the replica.",
        ),
        Panel(
            "Step time",
            "s",
            ((_gauge("avg", m.STAGE_STEP, "stage"), "{{stage}}"),),
            "If high: larger pictures, fuller batches, or a slow device.",
        ),
        Panel(
            "Images worth one step",
            "short",
            ((_gauge("max", m.STAGE_KNEE_ROWS, "stage"), "{{stage}}"),),
            "Measured when a replica starts, with small images: with more of them in a step, the "
            "time per image fell by less than 5%. The highest of the replicas; 0: images never "
            "share a step, or the start was too slow to measure. If above 0 and below "
            "CASCADE_MAX_ROWS or the model's number, lower that number to it.",
        ),
        Panel(
            "Time in the replica",
            "s",
            _spread(m.STAGE_LATENCY, "stage", "{{stage}}"),
            "Service time, plus the preparation and the wait for a row in the batch.",
        ),
        Panel(
            "Requests in flight",
            "short",
            (
                (_gauge("sum", m.STAGE_ROWS_RUNNING, "stage"), "{{stage}} running"),
                (_gauge("sum", m.STAGE_ROWS_WAITING, "stage"), "{{stage}} waiting"),
            ),
            "Images in the replicas.",
        ),
        Panel(
            "Hand-off time, p95",
            "s",
            ((_quantile(0.95, m.HANDOFF_SECONDS, "stage, part"), "{{stage}} {{part}}"),),
            "Time to encode, store and fetch a stage's result. If store or fetch is high, the "
            "blob store is slow.",
        ),
        Panel(
            "Hand-off size, mean",
            "bytes",
            ((_HANDOFF_SIZE, "{{stage}}"),),
            "Latents, or the last stage's images.",
        ),
    ),
    "Replicas": (
        Panel(
            "Replicas",
            "short",
            (
                (_gauge("sum", REPLICAS, "deployment"), "{{deployment}}"),
                (_gauge("max", TARGET_REPLICAS, "deployment"), "{{deployment}} wanted"),
            ),
            "If there are fewer than wanted for long, GPUs are missing or replicas fail to start.",
        ),
        Panel(
            "Start of a replica, p95",
            "ms",
            ((_STARTS, "{{deployment}}"),),
            "How long a job waits that starts a scaled-to-zero stage.",
        ),
        Panel(
            "Busy",
            "percentunit",
            ((_BUSY_SHARE, "{{stage}}"),),
            "Share of the time that the models worked.",
        ),
        Panel(
            "Failed images",
            "ops",
            ((_rate(m.STAGE_ERRORS, "stage, code"), "{{stage}} {{code}}"),),
            "As the replicas count them.",
        ),
        Panel(
            "Failed tries",
            "ops",
            ((_rate(m.CALL_FAILURES, "stage, code"), "{{stage}} {{code}}"),),
            "As the jobs count them, lost replicas included. Most are tried again.",
        ),
        Panel(
            "Refusals",
            "ops",
            (
                (_rate(m.REFUSALS, "rule, at"), "{{rule}} at {{at}}"),
                (_rate(m.REJECTIONS, "rule"), "{{rule}}, composed anew"),
            ),
            "What the blocklist or a content checker refused, or had composed anew.",
        ),
    ),
    "GPUs and cost": (
        Panel(
            "GPU memory",
            "bytes",
            ((_gauge("sum", m.STAGE_GPU_MEMORY, "stage, replica"), "{{stage}} {{replica}}"),),
            "Memory that each replica holds.",
        ),
        Panel(
            "GPU use",
            "percent",
            ((_gauge("avg", GPU_USE, "ip, GpuIndex"), "{{ip}} GPU {{GpuIndex}}"),),
            "As the driver reports it.",
        ),
        Panel(
            "Images",
            "ops",
            ((_rate(m.STAGE_SERVICE, "stage"), "{{stage}}"),),
            "Per second through each stage. Vary details passes B and A only.",
        ),
        Panel(
            "Seconds per image",
            "s",
            ((_gauge("avg", m.STAGE_SECONDS_PER_IMAGE, "stage"), "{{stage}}"),),
            "Time of one replica; images of one batch share it.",
        ),
        Panel(
            "Spending per hour",
            "short",
            ((_SPENDING, "{{stage}}"),),
            f"Replicas times {', '.join(_PRICES)}.",
        ),
        Panel(
            "Cost per image",
            "short",
            ((_FULL_COST, "{{stage}}"), (_BUSY_COST, "{{stage}} while busy")),
            "With idle replicas (last half hour), and for the time on the model alone.",
        ),
    ),
}
