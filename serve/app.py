"""The composition root: five deployments, wired.

    Gateway -> Jobs -> StageC, StageB, StageA

``serve.run``, ``serve deploy`` files and tests call ``build``. To add a stage, add a class in
`serve.stages.deployments`, a line here and a step in `serve.jobs.workflow`.
"""

# No `from __future__ import annotations` here: Ray Serve reads the type of build's argument and
# takes a name for an untyped one, which would hand it a plain dict.
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve as ray_serve
from ray.serve import Application

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.checkpoints.layout import ALL_COMPONENTS
from serve.gateway.deployment import Gateway
from serve.jobs.deployment import Jobs
from serve.moderation.moderator import load_checkers
from serve.settings import Settings, load_settings
from serve.stages.deployments import StageA, StageB, StageC

HEALTH_CHECK_PERIOD_S = 2.0
"""Serve notices a dead process at its next check, and replaces a process that lost its device after
three checks; until then a stage with a single replica does no work."""

STAGES: tuple[type, type, type] = (StageC, StageB, StageA)


class DeploymentArgs(BaseModel):
    """Size of one deployment.

    Attributes:
        num_replicas: a fixed number; ignored with ``autoscaling``.
        autoscaling: Ray Serve's autoscaling_config.
        num_cpus, num_gpus: per replica; GPU shares must be 1/n, other shares waste capacity. An
            explicit share also limits the GPU memory.
        label_selector: labels that a node must have.
        max_replicas_per_node: spreads replicas over nodes.
        graceful_shutdown_timeout_s: how long a stopping replica may finish its requests; for the
            gateway, longer than a request may wait for its job.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_replicas: int = Field(1, ge=1)
    autoscaling: dict[str, Any] | None = None
    num_cpus: float = Field(0.1, ge=0)
    num_gpus: float | None = Field(None, ge=0)
    label_selector: dict[str, str] | None = None
    max_replicas_per_node: int | None = Field(None, ge=1, le=100)
    graceful_shutdown_timeout_s: float | None = Field(None, gt=0)

    def options(self, num_gpus: float = 0.0, **more: Any) -> dict[str, Any]:
        """Return the options of ``ray.serve.deployment``; ``num_gpus`` is the default share."""
        share = num_gpus if self.num_gpus is None else self.num_gpus
        size = (
            {"autoscaling_config": self.autoscaling}
            if self.autoscaling
            else {"num_replicas": self.num_replicas}
        )
        actor: dict[str, Any] = {"num_cpus": self.num_cpus, "num_gpus": share}
        if self.label_selector:
            actor |= {"label_selector": self.label_selector}
        chosen = self.model_dump(
            include={"max_replicas_per_node", "graceful_shutdown_timeout_s"}, exclude_none=True
        )
        return {
            **size,
            "ray_actor_options": actor,
            "health_check_period_s": HEALTH_CHECK_PERIOD_S,
            **more,
            **chosen,
        }


class AppArgs(BaseModel):
    """Arguments of ``build`` in a Serve config file; all other settings are ``CASCADE_*``.

    Attributes:
        constructor_tries: how often replicas of a deployment may fail to start before Serve stops
            trying until the next deployment. Serve also limits each replica to three, unless
            ``RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT`` is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gateway: DeploymentArgs = DeploymentArgs()
    jobs: DeploymentArgs = DeploymentArgs()
    stage_c: DeploymentArgs = DeploymentArgs(num_cpus=0.25)
    stage_b: DeploymentArgs = DeploymentArgs(num_cpus=0.25)
    stage_a: DeploymentArgs = DeploymentArgs(num_cpus=0.25)
    constructor_tries: int = Field(20, ge=1)


def build(args: AppArgs) -> Application:
    """Build the application from the environment's settings.

    Raises:
        SettingsInvalid: one or more settings are wrong.
        ModelUnavailable: the configured model is not there.
    """
    return build_with(load_settings(), args)


def build_with(
    settings: Settings, args: AppArgs, stages: tuple[type, type, type] = STAGES
) -> Application:
    """Build the application from explicit settings and stages C, B, A; raises like `build`."""
    source = settings.model_source()
    # A hub's weights are downloaded by the replicas; a folder must be complete now.
    checkpoint = open_checkpoint(source, components=() if source.is_hub else ALL_COMPONENTS)
    load_checkers(settings, checkpoint)
    gpu = _gpu_shares(settings)
    tries = args.constructor_tries
    stage_c = _stage("StageC", stages[0], args.stage_c, gpu["c"], settings, tries)
    stage_b = _stage("StageB", stages[1], args.stage_b, gpu["b"], settings, tries)
    stage_a = _stage("StageA", stages[2], args.stage_a, gpu["a"], settings, tries)
    # Room for short requests beside all streams that may be open.
    front = {
        "max_ongoing_requests": settings.max_streams + 1000,
        "graceful_shutdown_timeout_s": 10.0,
        "max_constructor_retry_count": tries,
    }
    jobs = ray_serve.deployment(Jobs, name="Jobs", **args.jobs.options(**front))
    gateway = ray_serve.deployment(
        ray_serve.ingress()(Gateway), name="Gateway", **args.gateway.options(**front)
    )
    return gateway.bind(settings, jobs.bind(settings, stage_c, stage_b, stage_a))


def _stage(
    name: str,
    stage: type,
    args: DeploymentArgs,
    num_gpus: float,
    settings: Settings,
    constructor_tries: int,
) -> Application:
    # A short queue in the replica gives the engine its next row without a delay.
    ongoing = max(4, 2 * settings.max_rows)
    options = args.options(
        num_gpus,
        max_ongoing_requests=ongoing,
        # A stopping replica takes no more images and ends with its last one.
        graceful_shutdown_timeout_s=settings.drain_s,
        max_constructor_retry_count=constructor_tries,
    )
    shares_memory = args.num_gpus is not None and 0 < args.num_gpus < 1
    share = [args.num_gpus] if shares_memory else []
    return ray_serve.deployment(stage, name=name, **options).bind(settings, *share)


def _gpu_shares(settings: Settings) -> dict[str, float]:
    """Share one GPU between the stages; ``num_gpus`` in AppArgs overrides a share."""
    has_gpu = settings.device == "cuda" or (
        settings.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    )
    return {"c": 0.5, "b": 0.25, "a": 0.25} if has_gpu else {"c": 0.0, "b": 0.0, "a": 0.0}
