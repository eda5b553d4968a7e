"""What the Grafana dashboard shows.

Top to bottom it narrows a slow job down: is it the whole service, which stage, and there the line,
the steps, the hand-off, too few replicas, or a replica that starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
    help="From the request to the end of its answer; event streams last as long as their jobs.",
    labels=("route", "method", "application", "status_code"),
)
REPLICAS = Metric(
    name="serve_deployment_replica_healthy",
    kind="gauge",
    help="Replicas that answer.",
    labels=("deployment", "application"),
)
TARGET_REPLICAS = Metric(
    name="serve_autoscaling_target_replicas",
    kind="gauge",
    help="Replicas that the autoscaling policy wants.",
    labels=("deployment", "application"),
)
STARTUP_MS = Metric(
    name="serve_replica_startup_latency_ms",
    kind="histogram",
    help="From the wish for a replica to its first answer: node, image, weights, warm-up.",
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
        unit: Grafana's name of it.
        queries: PromQL and the legend of its lines.
        why: what the operator learns from it.
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
"""Of all starts that Serve's controller has seen: within a window there is hardly ever one."""
_BUSY_SHARE = f"avg by (stage) (rate({m.STAGE_BUSY.series[0]}[{_WINDOW}]))"

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Jobs": (
        Panel(
            "Open jobs",
            "short",
            ((_gauge("max", m.JOBS_OPEN, "state"), "{{state}}"),),
            "Queued jobs that grow: more comes in than the stages can do.",
        ),
        Panel(
            "Job latency",
            "s",
            _spread(m.JOB_LATENCY, "kind", "{{kind}}"),
            "From acceptance to the end. If it rises, the rows below tell where.",
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
            "By error code. deadline_exceeded: too slow; stage_lost: replicas die.",
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
            "How long one replica would need for what waits for each stage.",
        ),
        Panel(
            "Calls waiting for a turn",
            "short",
            ((_gauge("sum", m.QUEUE_CALLS, "stage"), "{{stage}}"),),
            "The line before each stage.",
        ),
        Panel(
            "Wait for a turn",
            "s",
            _spread(m.QUEUE_WAIT, "stage", "{{stage}}"),
            "What the line costs a job. High: this stage needs replicas.",
        ),
        Panel(
            "Service time",
            "s",
            _spread(m.STAGE_SERVICE, "stage", "{{stage}}"),
            "On the model, per image. High with a normal step time: more steps are asked for.",
        ),
        Panel(
            "Step time",
            "s",
            ((_gauge("avg", m.STAGE_STEP, "stage"), "{{stage}}"),),
            "High: larger pictures, fuller batches, or a slow device.",
        ),
        Panel(
            "Time in the replica",
            "s",
            _spread(m.STAGE_LATENCY, "stage", "{{stage}}"),
            "Service time, and the wait for a place in the batch.",
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
            "To encode, store and fetch what a stage made. High store, fetch: the blob store.",
        ),
        Panel(
            "Hand-off size, mean",
            "bytes",
            ((_HANDOFF_SIZE, "{{stage}}"),),
            "Latents of stages C and B, images of stage A.",
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
            "Fewer than wanted for long: no GPUs, or they fail to start.",
        ),
        Panel(
            "Start of a replica, p95",
            "ms",
            ((_STARTS, "{{deployment}}"),),
            "What a job waits that wakes a stage.",
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
            "As the replicas see it.",
        ),
        Panel(
            "Failed tries",
            "ops",
            ((_rate(m.CALL_FAILURES, "stage, code"), "{{stage}} {{code}}"),),
            "As the jobs see it: replicas that died, too. Most are tried again.",
        ),
        Panel(
            "Refusals",
            "ops",
            ((_rate(m.REFUSALS, "rule, at"), "{{rule}} at {{at}}"),),
            "By the blocklist and the content checkers.",
        ),
    ),
    "GPUs and cost": (
        Panel(
            "GPU memory",
            "bytes",
            ((_gauge("sum", m.STAGE_GPU_MEMORY, "stage, replica"), "{{stage}} {{replica}}"),),
            "Held by each replica.",
        ),
        Panel(
            "GPU use",
            "percent",
            ((_gauge("avg", GPU_USE, "ip, GpuIndex"), "{{ip}} GPU {{GpuIndex}}"),),
            "As the driver tells.",
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
            "Of a replica; images of one batch share the time.",
        ),
        Panel(
            "Spending per hour",
            "short",
            ((_SPENDING, "{{stage}}"),),
            "Replicas times CASCADE_HOUR_PRICE_C, _B and _A.",
        ),
        Panel(
            "Cost per image",
            "short",
            ((_FULL_COST, "{{stage}}"), (_BUSY_COST, "{{stage}} while busy")),
            "With idle replicas (last half hour), and for the time on the model alone.",
        ),
    ),
}
