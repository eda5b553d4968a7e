"""What Ray Serve is told says what Serve and the application understand, and nothing else."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from serve.app import AppArgs, DeploymentArgs, build
from serve.autoscaling.policy import Sizing
from tests.k8s.manifests import OVERLAYS, ROOT, serve_config

PLAIN = "serve-config.yaml"

for_each_config = pytest.mark.parametrize("name", [PLAIN, *OVERLAYS])
for_each_policy = pytest.mark.parametrize("name", [PLAIN, "prod"])


def read(name: str) -> dict[str, Any]:
    """Return the file for a plain Ray cluster, or what an overlay's RayService carries."""
    if name != PLAIN:
        return serve_config(name)
    config: dict[str, Any] = yaml.safe_load((ROOT / "k8s" / PLAIN).read_text())
    return config


def application(name: str) -> dict[str, Any]:
    (only,) = read(name)["applications"]
    found: dict[str, Any] = only
    return found


def arguments(name: str) -> dict[str, DeploymentArgs]:
    args = AppArgs.model_validate(application(name)["args"])
    return {name: size for name, size in args if isinstance(size, DeploymentArgs)}


def strict_schema() -> dict[str, Any]:
    """Serve drops unknown keys in silence, so a typo would be lost; this schema refuses them."""
    schema = ServeDeploySchema.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    return schema


@for_each_config
def test_serve_reads_it_and_knows_each_of_its_keys(name: str) -> None:
    ServeDeploySchema.model_validate(read(name))
    Draft202012Validator(strict_schema()).validate(read(name))


@pytest.mark.parametrize("place", [(), ("http_options",), ("logging_config",), ("applications", 0)])
def test_a_mistyped_key_is_refused_on_every_level(place: tuple[str | int, ...]) -> None:
    config: Any = read("prod")
    part = config
    for step in place:
        part = part[step]
    part["tpyo"] = 1
    assert not Draft202012Validator(strict_schema()).is_valid(config)


@for_each_config
def test_the_import_path_is_the_builder_and_serve_sees_the_type_of_its_argument(name: str) -> None:
    module, _, function = application(name)["import_path"].partition(":")
    assert (module, function) == (build.__module__, build.__name__)
    (argument,) = inspect.signature(build).parameters.values()
    assert argument.annotation is AppArgs


@for_each_policy
def test_the_autoscaling_policy_is_there_and_counts_the_gpus_that_the_stages_take(
    name: str,
) -> None:
    policy = application(name)["autoscaling_policy"]
    module, _, attribute = policy["policy_function"].partition(":")
    kwargs = policy["policy_kwargs"]
    assert getattr(import_module(module), attribute)(**kwargs)
    stages = {stage: arguments(name)[f"stage_{stage}"] for stage in kwargs["gpus"]}
    assert kwargs["gpus"] == {stage: sizes.num_gpus for stage, sizes in stages.items()}
    floors = {stage: (sizes.autoscaling or {})["min_replicas"] for stage, sizes in stages.items()}
    assert Sizing(**kwargs).gpus_taken(floors) <= kwargs["gpu_budget"]


@for_each_policy
def test_stages_that_are_placed_one_to_a_pod_share_its_gpus_in_the_budget(name: str) -> None:
    kwargs = application(name)["autoscaling_policy"]["policy_kwargs"]
    placed: dict[str, list[str]] = {}
    for stage in kwargs["gpus"]:
        sizes = arguments(name)[f"stage_{stage}"]
        if sizes.max_replicas_per_node == 1:
            placed.setdefault(str(sizes.label_selector), []).append(stage)
    assert sorted(map(sorted, kwargs.get("pods", []))) == sorted(map(sorted, placed.values()))


@for_each_policy
def test_what_the_policy_scales_has_an_autoscaling_config_that_adds_no_delay(name: str) -> None:
    # Serve shows a policy only such deployments; Jobs is where the policy's figures come from.
    for field in ("jobs", "stage_c", "stage_b", "stage_a"):
        autoscaling = arguments(name)[field].autoscaling or {}
        assert autoscaling["upscale_delay_s"] == autoscaling["downscale_delay_s"] == 0
        assert autoscaling["metrics_interval_s"] <= 2


@for_each_config
def test_the_arguments_fit_the_builder_and_the_autoscaler(name: str) -> None:
    for sizes in arguments(name).values():
        if sizes.autoscaling:
            assert sizes.autoscaling.keys() <= AutoscalingConfig.model_fields.keys()
            AutoscalingConfig.model_validate(sizes.autoscaling)


def test_a_mistyped_argument_is_refused() -> None:
    with pytest.raises(ValidationError, match="num_replica"):
        AppArgs.model_validate({"stage_c": {"num_replica": 2}})


def test_placement_and_shutdown_become_options_of_the_deployment() -> None:
    args = DeploymentArgs(
        num_gpus=1,
        label_selector={"pool": "large"},
        max_replicas_per_node=1,
        graceful_shutdown_timeout_s=60,
    )
    options = args.options(graceful_shutdown_timeout_s=10.0)
    assert options["ray_actor_options"]["label_selector"] == {"pool": "large"}
    assert options["max_replicas_per_node"] == 1
    assert options["graceful_shutdown_timeout_s"] == 60


def test_what_is_not_chosen_stays_as_the_application_has_it() -> None:
    options = DeploymentArgs().options(graceful_shutdown_timeout_s=10.0)
    assert options["graceful_shutdown_timeout_s"] == 10.0
    assert "max_replicas_per_node" not in options
    assert "label_selector" not in options["ray_actor_options"]
