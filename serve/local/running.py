"""A service that runs in this process's own Ray cluster: its addresses, its stop, its failures."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass

import ray
from ray import serve as ray_serve

from cascade_core.errors import NotReady
from serve.fleet import reason
from serve.handle_errors import translated
from serve.local.fork_server import ForkServer

APP_NAME = "cascade"


@dataclass(frozen=True, slots=True)
class Running:
    """A service started in this process's own Ray cluster.

    Attributes:
        url: where it answers.
        drain_s: how long running jobs may go on after the service was told to stop.
        fork_server: forks the cluster's workers; ends with the service.
    """

    url: str
    drain_s: float
    fork_server: ForkServer

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
        self.fork_server.close()


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
