"""Prometheus metrics of one bot process."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

ACK_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
JOB_BUCKETS_S = (0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 900)
_IDS = re.compile(r"\d{15,}")


class Metrics:
    """The bot's metrics; :meth:`text` is the page that Prometheus scrapes."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.ack_seconds = Histogram(
            "cascade_bot_ack_seconds",
            "Seconds from the receipt of an interaction to its acknowledgement.",
            buckets=ACK_BUCKETS_S,
            registry=registry,
        )
        self.job_seconds = Histogram(
            "cascade_bot_job_seconds",
            "Seconds from a job's acceptance to the delivery of its outcome.",
            buckets=JOB_BUCKETS_S,
            registry=registry,
        )
        self._edits = self._counter("edits", "Edits that show progress, by outcome.", "outcome")
        self._deliveries = self._counter("deliveries", "Job outcomes delivered, by way.", "way")
        self._interactions = self._counter(
            "interactions", "Interactions, by command or button and by end.", "name", "end"
        )
        self._rest = self._counter(
            "discord_requests",
            "Discord's answers, by route and status.",
            "method",
            "route",
            "status",
        )
        self._gateway = self._counter("gateway_events", "Events of gateway connections.", "event")
        self.live_jobs = Gauge(
            "cascade_bot_live_jobs", "Jobs that the bot follows.", registry=registry
        )
        self.loop_lag_seconds = Gauge(
            "cascade_bot_loop_lag_seconds", "Delay of the event loop in seconds.", registry=registry
        )

    def edit(self, outcome: str) -> None:
        """Count a progress edit: ``sent``, ``coalesced`` or ``failed``."""
        self._edits.labels(outcome).inc()

    def delivered(self, route: str) -> None:
        """Count a delivery: ``edited``, ``direct``, ``deleted`` (its message) or ``lost``."""
        self._deliveries.labels(route).inc()

    def interaction(self, name: str, end: str) -> None:
        """Count an interaction: ``done``, ``refused``, ``failed`` or ``late``."""
        self._interactions.labels(name, end).inc()

    def gateway(self, event: str) -> None:
        """Count ``connect``, ``disconnect``, ``resumed`` or ``ready`` of a shard."""
        self._gateway.labels(event).inc()

    def trace(self) -> aiohttp.TraceConfig:
        """Return a trace configuration with which aiohttp counts every answer of Discord."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._on_request_end)
        return config

    def text(self) -> bytes:
        """Return the metrics in Prometheus' format."""
        return generate_latest(self.registry)

    async def _on_request_end(
        self, _session: aiohttp.ClientSession, _context: Any, end: aiohttp.TraceRequestEndParams
    ) -> None:
        self._rest.labels(end.method, route_of(end.url.path), str(end.response.status)).inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cascade_bot_{name}", text, labels, registry=self.registry)


def route_of(path: str) -> str:
    """Return a request's path without ids and tokens, so labels are few and hold no secrets."""
    path = _IDS.sub(":id", path)
    for part in ("/webhooks/:id/", "/interactions/:id/"):
        before, found, rest = path.partition(part)
        if found:
            _token, slash, more = rest.partition("/")
            return f"{before}{part}:token{slash}{more}"
    return path
