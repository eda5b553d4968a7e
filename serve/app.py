"""The composition root: five deployments, wired.

    Gateway -> Jobs -> StageC, StageB, StageA

``build`` is what ``serve.run``, ``serve deploy`` files and tests use. Swapping a stage's model is
one line here; a fourth stage is one class in `serve.stage_deployments`, one line here and one step
in `serve.workflow`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve as ray_serve
from ray.serve import Application

from cascade_core.checkpoint import open_checkpoint
from cascade_core.errors import NotReady
from serve.gateway_deployment import Gateway
from serve.jobs import Jobs
from serve.settings import Settings, load_settings
from serve.stage_deployments import StageA, StageB, StageC

APP_NAME = "cascade"
OBJECT_STORE_BYTES = 512 * 1024 * 1024
"""Latents and pictures are at most a few MB each; Ray would otherwise take 30% of the memory."""


class DeploymentArgs(BaseModel):
    """Size of one deployment.

    Attributes:
        num_replicas: a fixed number; ignored with ``autoscaling``.
        autoscaling: Ray Serve's autoscaling_config.
        num_cpus, num_gpus: per replica; GPU shares must be 1/n, others strand capacity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_replicas: int = Field(1, ge=1)
    autoscaling: dict[str, Any] | None = None
    num_cpus: float = Field(0.1, ge=0)
    num_gpus: float | None = Field(None, ge=0)

    def options(self, num_gpus: float = 0.0, **more: Any) -> dict[str, Any]:
        """Return the options of ``ray.serve.deployment``; ``num_gpus`` is the default share."""
        share = num_gpus if self.num_gpus is None else self.num_gpus
        size = (
            {"autoscaling_config": self.autoscaling}
            if self.autoscaling
            else {"num_replicas": self.num_replicas}
        )
        actor = {"num_cpus": self.num_cpus, "num_gpus": share}
        return size | {"ray_actor_options": actor, "max_constructor_retry_count": 2} | more


class AppArgs(BaseModel):
    """Arguments of ``build`` in a Serve config file; everything else is ``CASCADE_*``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gateway: DeploymentArgs = DeploymentArgs()
    jobs: DeploymentArgs = DeploymentArgs()
    stage_c: DeploymentArgs = DeploymentArgs(num_cpus=0.25)
    stage_b: DeploymentArgs = DeploymentArgs(num_cpus=0.25)
    stage_a: DeploymentArgs = DeploymentArgs(num_cpus=0.25)


def build(args: AppArgs) -> Application:
    """Build the application from the environment's settings.

    Raises:
        SettingsInvalid: one or more settings are wrong.
        ModelUnavailable: the configured model is not there.
    """
    return build_with(load_settings(), args)


def build_with(settings: Settings, args: AppArgs) -> Application:
    """Build the application from explicit settings; raises like :func:`build`."""
    open_checkpoint(settings.model_source())
    gpus = _gpu_shares(settings)
    stage = {"max_ongoing_requests": max(4, 2 * settings.max_rows)}
    wide = {"max_ongoing_requests": 1000, "graceful_shutdown_timeout_s": 10.0}
    stage_c = ray_serve.deployment(
        StageC, name="StageC", **args.stage_c.options(gpus["c"], **stage)
    ).bind(settings)
    stage_b = ray_serve.deployment(
        StageB, name="StageB", **args.stage_b.options(gpus["b"], **stage)
    ).bind(settings)
    stage_a = ray_serve.deployment(
        StageA, name="StageA", **args.stage_a.options(gpus["a"], **stage)
    ).bind(settings)
    jobs = ray_serve.deployment(Jobs, name="Jobs", **args.jobs.options(**wide)).bind(
        settings, stage_c, stage_b, stage_a
    )
    gateway = ray_serve.deployment(
        ray_serve.ingress()(Gateway), name="Gateway", **args.gateway.options(**wide)
    )
    return gateway.bind(settings, jobs)


@dataclass(frozen=True, slots=True)
class Running:
    """A service started in this process's own Ray cluster."""

    url: str
    drain_s: float

    def drain_and_stop(self) -> int:
        """Refuse new jobs, wait for those under way, stop; returns how many are still open.

        Those go on at the next start with the same data.
        """
        jobs = ray_serve.get_deployment_handle("Jobs", APP_NAME)
        left: int = jobs.drain.remote(self.drain_s).result(timeout_s=self.drain_s + 10)
        self.stop()
        return left

    def stop(self) -> None:
        """Stop at once."""
        ray_serve.shutdown()
        ray.shutdown()


def start(settings: Settings, args: AppArgs | None = None, *, show_logs: bool = False) -> Running:
    """Start Ray and the service on this machine; returns when it answers.

    Args:
        settings: the service's settings.
        args: size of the deployments.
        show_logs: print the replicas' logs here.

    Raises:
        ModelUnavailable: the configured model is not there.
        NotReady: a deployment could not start; says which and why.
    """
    open_checkpoint(settings.model_source())
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=show_logs,
        logging_level="WARNING" if show_logs else "ERROR",
    )
    ray_serve.start(http_options={"host": settings.http_host, "port": settings.http_port})
    try:
        ray_serve.run(build_with(settings, args or AppArgs()), name=APP_NAME, route_prefix="/")
    except RuntimeError as error:
        reason = why_not_running(APP_NAME) or str(error)
        Running("", 0.0).stop()
        raise NotReady(reason) from error
    return Running(f"http://{settings.http_host}:{settings.http_port}", settings.drain_s)


def _gpu_shares(settings: Settings) -> dict[str, float]:
    """Share one GPU between the stages, C first; fixed sizes belong in AppArgs."""
    has_gpu = settings.device == "cuda" or (
        settings.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    )
    return {"c": 0.5, "b": 0.25, "a": 0.25} if has_gpu else {"c": 0.0, "b": 0.0, "a": 0.0}


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
