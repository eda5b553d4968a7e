"""Starts and stops the whole service on this machine, in a Ray cluster of its own."""

from __future__ import annotations

import io
import logging
import os
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import serve as ray_serve

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.errors import CascadeError, NotReady
from cascade_core.families.spec import Family
from cascade_core.service_url import http_url
from serve.app import AppArgs, build_with
from serve.error_first_line import first_line
from serve.fleet import reason
from serve.gateway.auth.exposure import check_exposure
from serve.handle_errors import translated
from serve.local import open_files, ray_access
from serve.local.private_files import keep_files_private
from serve.moderation.moderator import load_checkers
from serve.proxies import haproxy
from serve.proxies.ray_proxy import CALLBACK, CALLBACK_VARIABLE
from serve.settings import Settings
from serve.stages.deployments import StageDeployment

APP_NAME = "cascade"
LOCAL_TRIES = 2
"""Few, as a person watches the start on this machine and should soon learn why it fails."""
RAY_TRIES = 3
"""Ray gives each of its processes 15 to 30 s to start, too few on a busy machine."""
OBJECT_STORE_BYTES = 512 * 1024 * 1024
"""Enough: latents and pictures have at most a few MB each. Ray's default is 30% of the memory."""
RAY_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A dead proxy is replaced after three checks; with Ray's 10 s no request is answered for 20 s.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    haproxy.BINARY_VARIABLE: str(haproxy.COMMAND),
    CALLBACK_VARIABLE: CALLBACK,
}
"""Environment of Ray's processes; variables that are set override it."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service started in this process's own Ray cluster."""

    url: str
    drain_s: float

    @property
    def metrics_url(self) -> str:
        """The address of the metrics for Prometheus, on a port that Ray chose."""
        (node,) = ray.nodes()
        return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

    def drain_and_stop(self) -> int:
        """Refuse new jobs, wait for open ones, stop; returns how many are still open.

        The open jobs continue at the next start with the same data.

        Raises:
            NotReady: it is stopped, but the Jobs process or its database did not say which jobs are
                open.
        """
        jobs = ray_serve.get_deployment_handle("Jobs", APP_NAME)
        lost = NotReady("the job service did not say which jobs are open")
        try:
            jobs.broadcast("stop_accepting").results()
            left: int = jobs.drain.remote(self.drain_s).result(timeout_s=2 * self.drain_s + 10)
        except TimeoutError as error:
            raise lost from error
        except Exception as error:
            raise translated(error, lost, lost) from error
        finally:
            self.stop()
        return left

    def stop(self) -> None:
        """Stop immediately."""
        # Ray prints a line about each actor that it stops.
        with redirect_stdout(io.StringIO()):
            if ray.is_initialized():  # otherwise Serve would start a cluster
                ray_serve.shutdown()
            ray.shutdown()


def start(
    settings: Settings,
    family: Family,
    args: AppArgs | None = None,
    *,
    show_logs: bool = False,
    stage_class: type = StageDeployment,
) -> Running:
    """Start Ray and the service on this machine; returns when the service answers.

    Args:
        settings: the service's settings.
        family: whose stages run.
        args: size of the deployments.
        show_logs: print the replicas' logs here.
        stage_class: as of :func:`serve.app.build_with`.

    Raises:
        SettingsInvalid: it would listen beyond this machine and there are no API keys, or a
            checker cannot be loaded.
        ModelUnavailable: the configured model is not there.
        NotReady: Ray or a deployment could not start; says which and why.
    """
    keep_files_private()  # Ray's processes inherit this, and the limit of open files
    open_files.raise_limit()
    ray_access.check_mode(os.environ)
    check_exposure(settings)
    load_checkers(settings, open_checkpoint(settings.model_source()), family)
    temp_dir = ray_access.restrict(settings.data_dir)
    os.environ.update(RAY_DEFAULTS | haproxy.files_in(temp_dir.parent) | os.environ)
    running = Running(http_url(settings.http_host, settings.http_port), settings.drain_s)
    try:
        _start_ray(temp_dir, show_logs=show_logs)
        ray_serve.start(http_options={"host": settings.http_host, "port": settings.http_port})
        sizes = args or AppArgs(constructor_tries=LOCAL_TRIES)
        application = build_with(settings, sizes, family, stage_class)
        ray_serve.run(application, name=APP_NAME, route_prefix="/")
    except BaseException as error:
        why = _why_not_started(error)
        running.stop()
        if isinstance(error, CascadeError) or not isinstance(error, Exception):
            raise
        message = f"{why} (more in {temp_dir}/session_latest/logs)"
        raise NotReady(message) from error
    return running


def _start_ray(temp_dir: Path, *, show_logs: bool) -> None:
    for tries_left in reversed(range(RAY_TRIES)):
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=show_logs,
                logging_level="WARNING" if show_logs else "CRITICAL",
                _temp_dir=str(temp_dir),
            )
            break
        except Exception:
            ray.shutdown()
            if not tries_left:
                raise
    if not show_logs:
        # A filter, because Serve sets the level of its logger when it starts.
        logging.getLogger("ray.serve").addFilter(lambda record: record.levelno >= logging.ERROR)


def _why_not_started(error: BaseException) -> str:
    if not ray.is_initialized():
        return f"Ray did not start: {first_line(error)}"
    with suppress(Exception):  # Serve's controller may not have started
        if why := why_not_running(APP_NAME):
            return why
    return f"Ray Serve did not start: {first_line(error)}"


def why_not_running(app_name: str) -> str:
    """Return each failed deployment's reason; empty if none failed."""
    application = ray_serve.status().applications.get(app_name)
    if application is None:
        return ""
    reasons = [
        f"{name}: {reason(overview)}"
        for name, overview in application.deployments.items()
        if overview.status.value == "DEPLOY_FAILED" and overview.message.strip()
    ]
    return "; ".join(reasons)
