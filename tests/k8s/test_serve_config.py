"""The Serve config file says what the application understands, and nothing else."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from serve.app import AppArgs, DeploymentArgs, build

CONFIG = Path(__file__).parents[2] / "k8s" / "serve-config.yaml"


def application() -> dict[str, Any]:
    (only,) = yaml.safe_load(CONFIG.read_text())["applications"]
    found: dict[str, Any] = only
    return found


def test_serve_reads_the_file_and_knows_each_of_its_keys() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    ServeDeploySchema.model_validate(config)
    # Serve drops unknown keys in silence, so a typo would be lost.
    assert config.keys() <= ServeDeploySchema.model_fields.keys()
    assert application().keys() <= ServeApplicationSchema.model_fields.keys()


def test_the_import_path_is_the_builder_and_serve_sees_the_type_of_its_argument() -> None:
    module, _, name = application()["import_path"].partition(":")
    assert (module, name) == (build.__module__, build.__name__)
    (argument,) = inspect.signature(build).parameters.values()
    assert argument.annotation is AppArgs


def test_the_arguments_fit_the_builder_and_the_autoscaler() -> None:
    args = AppArgs.model_validate(application()["args"])
    for name in AppArgs.model_fields:
        sizes: DeploymentArgs = getattr(args, name)
        if sizes.autoscaling:
            assert sizes.autoscaling.keys() <= AutoscalingConfig.model_fields.keys()
            AutoscalingConfig.model_validate(sizes.autoscaling)


def test_the_autoscaling_policy_is_there_and_counts_the_gpus_that_the_stages_take() -> None:
    policy = application()["autoscaling_policy"]
    assert policy.keys() <= AutoscalingPolicy.model_fields.keys()
    module, _, name = policy["policy_function"].partition(":")
    kwargs = policy["policy_kwargs"]
    assert getattr(import_module(module), name)(**kwargs)
    args = AppArgs.model_validate(application()["args"])
    stages = {stage: getattr(args, f"stage_{stage}") for stage in kwargs["gpus"]}
    assert kwargs["gpus"] == {stage: sizes.num_gpus for stage, sizes in stages.items()}
    floors = [sizes.num_gpus * sizes.autoscaling["min_replicas"] for sizes in stages.values()]
    assert sum(floors) <= kwargs["gpu_budget"]


def test_what_the_policy_scales_has_an_autoscaling_config_that_adds_no_delay() -> None:
    # Serve shows a policy only such deployments; Jobs is where the policy's figures come from.
    args = AppArgs.model_validate(application()["args"])
    for name in ("jobs", "stage_c", "stage_b", "stage_a"):
        autoscaling = getattr(args, name).autoscaling
        assert autoscaling["upscale_delay_s"] == autoscaling["downscale_delay_s"] == 0
        assert autoscaling["metrics_interval_s"] <= 2


def test_a_mistyped_argument_is_refused() -> None:
    with pytest.raises(ValidationError, match="num_replica"):
        AppArgs.model_validate({"stage_c": {"num_replica": 2}})
