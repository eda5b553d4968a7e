"""The composition root: the deployments, wired.

    Gateway -> Jobs -> StageC, StageB, StageA and, if the model has an encoder, StageE

``serve.run``, ``serve deploy`` files and tests call ``build``. There is one deployment for each
stage of the model family; to add or change a stage, see `cascade_core.families`.
"""

# No `from __future__ import annotations` here: Ray Serve reads the type of build's argument and
# takes a name for an untyped one, which would hand it a plain dict.
from collections.abc import Sequence
from typing import Any, Self

import ray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve as ray_serve
from ray.serve import Application

from cascade_core.checkpoints.checkpoint import Checkpoint, open_checkpoint
from cascade_core.errors import SettingsInvalid
from cascade_core.families.spec import Family, StageSpec
from serve.gateway.deployment import Gateway
from serve.jobs.deployment import Jobs
from serve.moderation.moderator import load_checkers
from serve.provenance.picture_signer import load_signer
from serve.provenance.watermarks import load_watermarker
from serve.served_models import OpenModel, ServedModel, choose_models
from serve.settings import Settings, load_settings
from serve.stages.deployments import StageDeployment

HEALTH_CHECK_PERIOD_S = 2.0
"""Serve notices a dead process at its next check, and replaces a process that lost its device after
three checks; until then a stage with a single replica does no work."""
STAGE_PREFIX = "stage_"
"""Before a stage's name in :class:`AppArgs`."""


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


STAGE_CPUS = 0.25
ALL_STAGES_CPUS = 1.5
"""CPUs that a replica of a stage, and one of every stage together, ask Ray for unless the arguments
say otherwise: several models then start on a machine of two cores, too."""

ENCODER_SIZE = DeploymentArgs(
    num_cpus=STAGE_CPUS,
    autoscaling={"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1},
)
"""Of the encoder's deployment, unless the arguments say otherwise: uploads are rare."""


class AppArgs(BaseModel):
    """Arguments of ``build`` in a Serve config file; all other settings are ``CASCADE_*``.

    The size of each stage's deployment is under ``stage_<name>``, such as ``stage_c``; of a model
    that is not the service's first under ``stage_<name>@<model>``, such as ``stage_c@other``.

    Attributes:
        constructor_tries: how often replicas of a deployment may fail to start before Serve stops
            trying until the next deployment. Serve also limits each replica to three, unless
            ``RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT`` is set.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, DeploymentArgs]

    gateway: DeploymentArgs = DeploymentArgs()
    jobs: DeploymentArgs = DeploymentArgs()
    constructor_tries: int = Field(20, ge=1)

    @model_validator(mode="after")
    def _only_stages_beside(self) -> Self:
        for name in self.__pydantic_extra__:
            if not name.startswith(STAGE_PREFIX):
                raise ValueError(f"{name} is no argument")
        return self

    def of_stage(self, key: str, stage_count: int, *, is_encoder: bool = False) -> DeploymentArgs:
        """Return the size of a stage's deployment; ``stage_count`` is that of all models."""
        share = min(STAGE_CPUS, ALL_STAGES_CPUS / stage_count)
        size = ENCODER_SIZE if is_encoder else DeploymentArgs()
        default = size.model_copy(update={"num_cpus": share})
        return self.__pydantic_extra__.get(STAGE_PREFIX + key, default)

    def check_stages(self, models: Sequence[ServedModel]) -> None:
        """Check that only stages of these models are given.

        Raises:
            SettingsInvalid: another stage is named.
        """
        stages = [stage for model in models for stage in model.family.all_stages]
        known = [STAGE_PREFIX + stage.key for stage in stages]
        for name in self.__pydantic_extra__:
            if name not in known:
                raise SettingsInvalid(f"{name} is none of {', '.join(known)}")


def build(args: AppArgs) -> Application:
    """Build the application from the environment's settings.

    Raises:
        SettingsInvalid: one or more settings are wrong.
        ModelUnavailable: the configured model is not there, or its configuration is wrong.
    """
    settings = load_settings()
    return build_with(settings, args, choose_models(settings.model_sources()))


def build_with(
    settings: Settings,
    args: AppArgs,
    models: Sequence[ServedModel],
    stage_class: type = StageDeployment,
) -> Application:
    """Build the application from explicit settings; raises like `build`.

    Args:
        settings: of the service.
        args: sizes of the deployments.
        models: that make the images, the default first.
        stage_class: runs each stage; benchmarks give others than the one that loads models.
    """
    args.check_stages(models)
    opened = [_opened(model) for model in models]
    load_checkers(settings, opened)
    load_signer(settings)
    load_watermarker(settings)
    stages: dict[str, Application] = {}
    stage_count = sum(len(known.stages) for known in opened)
    for model, known in zip(models, opened, strict=True):
        most_rows = _most_rows(settings, known.family, known.checkpoint)
        for stage in known.stages:
            rows = most_rows[stage.name]
            size = args.of_stage(stage.key, stage_count, is_encoder=stage == model.family.encoder)
            stages[stage.key] = _stage(
                *(stage, stage_class, model, size, settings, rows),
                gpu_share=stage.gpu_share / len(models),
                tries=args.constructor_tries,
            )
    # Room for short requests beside all streams that may be open.
    front = {
        "max_ongoing_requests": settings.max_streams + 1000,
        "graceful_shutdown_timeout_s": 10.0,
        "max_constructor_retry_count": args.constructor_tries,
    }
    jobs = ray_serve.deployment(Jobs, name="Jobs", **args.jobs.options(**front))
    gateway = ray_serve.deployment(
        ray_serve.ingress()(Gateway), name="Gateway", **args.gateway.options(**front)
    )
    return gateway.bind(settings, models, jobs.bind(settings, models, stages))


def _opened(model: ServedModel) -> OpenModel:
    """Open a model; a hub's weights are downloaded by the replicas, a folder must be complete."""
    parts = () if model.source.is_hub else model.family.components
    return OpenModel(model.family, open_checkpoint(model.source, parts))


def _stage(
    stage: StageSpec,
    stage_class: type,
    model: ServedModel,
    size: DeploymentArgs,
    settings: Settings,
    max_rows: int,
    *,
    gpu_share: float,
    tries: int,
) -> Application:
    if stage.gpu_share == 0 and not size.num_gpus and settings.device == "cuda":
        settings = settings.model_copy(update={"device": "cpu"})  # it gets no GPU
    # A short queue in the replica gives the engine its next row without a delay.
    ongoing = max(4, 2 * max_rows)
    options = size.options(
        # The stages of all models share one GPU unless their sizes say otherwise.
        gpu_share if _has_gpu(settings) else 0.0,
        max_ongoing_requests=ongoing,
        # A stopping replica takes no more images and ends with its last one.
        graceful_shutdown_timeout_s=settings.drain_s,
        max_constructor_retry_count=tries,
    )
    shares_memory = size.num_gpus is not None and 0 < size.num_gpus < 1
    share = [size.num_gpus] if shares_memory else []
    deployment = ray_serve.deployment(stage_class, name=stage.deployment, **options)
    return deployment.bind(model, stage.name, settings, *share)


def _most_rows(settings: Settings, family: Family, checkpoint: Checkpoint) -> dict[str, int]:
    """Return how many images may share a step of each stage, on the device that takes the most.

    A device that is found automatically is known to the replicas alone: their nodes may come later.
    """
    if settings.max_rows:
        return dict.fromkeys(family.all_names, settings.max_rows)
    devices = ("cpu", "cuda") if settings.device == "auto" else (settings.device,)
    rows = [family.max_rows(device, checkpoint.max_rows) for device in devices]
    return {name: max(of_device[name] for of_device in rows) for name in family.all_names}


def _has_gpu(settings: Settings) -> bool:
    is_there = settings.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    return settings.device == "cuda" or is_there
