"""The whole service on this machine: a Ray cluster of its own, started and stopped from here."""

from __future__ import annotations

import io
import logging
import os
from contextlib import redirect_stdout
from dataclasses import dataclass

import ray
from ray import serve as ray_serve

from cascade_core.checkpoint import open_checkpoint
from cascade_core.errors import NotReady
from serve import haproxy
from serve.app import STAGES, AppArgs, build_with
from serve.exposure import check_exposure
from serve.moderation import load_checkers
from serve.settings import Settings

APP_NAME = "cascade"
OBJECT_STORE_BYTES = 512 * 1024 * 1024
"""Latents and pictures are at most a few MB each; Ray would otherwise take 30% of the memory."""
RAY_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A dead proxy is replaced after three checks; Ray's 10 s would keep everybody out for 20 s.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    haproxy.BINARY_VARIABLE: str(haproxy.COMMAND),
}
"""For Ray's processes, where the environment says nothing else."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service started in this process's own Ray cluster."""

    url: str
    drain_s: float

    @property
    def metrics_url(self) -> str:
        """Where Prometheus fetches the metrics, on a port that Ray chose."""
        (node,) = ray.nodes()
        return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

    def drain_and_stop(self) -> int:
        """Refuse new jobs, wait for those under way, stop; returns how many are still open.

        Those go on at the next start with the same data.
        """
        jobs = ray_serve.get_deployment_handle("Jobs", APP_NAME)
        jobs.broadcast("stop_accepting").results()
        left: int = jobs.drain.remote(self.drain_s).result(timeout_s=self.drain_s + 10)
        self.stop()
        return left

    def stop(self) -> None:
        """Stop at once."""
        # Ray prints what happens to the actors it kills on the way down as if it were news.
        with redirect_stdout(io.StringIO()):
            ray_serve.shutdown()
            ray.shutdown()


def start(
    settings: Settings,
    args: AppArgs | None = None,
    *,
    show_logs: bool = False,
    stages: tuple[type, type, type] = STAGES,
) -> Running:
    """Start Ray and the service on this machine; returns when it answers.

    Args:
        settings: the service's settings.
        args: size of the deployments.
        show_logs: print the replicas' logs here.
        stages: classes of Stage C, B and A; benchmarks give others than the models.

    Raises:
        SettingsInvalid: it would listen beyond this machine and there are no API keys, or a
            checker cannot be had.
        ModelUnavailable: the configured model is not there.
        NotReady: a deployment could not start; says which and why.
    """
    check_exposure(settings)
    load_checkers(settings, open_checkpoint(settings.model_source()))
    os.environ.update(RAY_DEFAULTS | os.environ)
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=show_logs,
        logging_level="WARNING" if show_logs else "ERROR",
    )
    if not show_logs:
        # A filter, as Serve sets the level of its logger itself when it starts.
        logging.getLogger("ray.serve").addFilter(lambda record: record.levelno >= logging.ERROR)
    ray_serve.start(http_options={"host": settings.http_host, "port": settings.http_port})
    try:
        application = build_with(settings, args or AppArgs(), stages)
        ray_serve.run(application, name=APP_NAME, route_prefix="/")
    except RuntimeError as error:
        reason = why_not_running(APP_NAME) or str(error)
        Running("", 0.0).stop()
        raise NotReady(reason) from error
    return Running(f"http://{settings.http_host}:{settings.http_port}", settings.drain_s)


def why_not_running(app_name: str) -> str:
    """Return the last line of each failed deployment's message; empty if none failed."""
    application = ray_serve.status().applications.get(app_name)
    if application is None:
        return ""
    reasons = [
        f"{name}: {overview.message.strip().splitlines()[-1]}"
        for name, overview in application.deployments.items()
        if overview.status.value == "DEPLOY_FAILED" and overview.message.strip()
    ]
    return "; ".join(reasons)
