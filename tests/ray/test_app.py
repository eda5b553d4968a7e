"""The builder gives each deployment its own size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from ray.serve import Application
from ray.serve._private.build_app import build_app

from cascade_core.checkpoints.checkpoint import Checkpoint, open_checkpoint
from cascade_core.errors import ModelUnavailable, SettingsInvalid
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.app import AppArgs, build, build_with
from serve.settings import Settings
from tests.ray.families.four_stages import FOUR_STAGES
from tests.serve.served import models_of


def options(application: Application) -> dict[str, Any]:
    """Return what Serve would run, by deployment name."""
    built = build_app(application, name="cascade")
    return {deployment.name: deployment for deployment in built.deployments}


def test_every_deployment_has_its_own_replicas_resources_and_autoscaling(
    settings: Settings,
) -> None:
    args = AppArgs.model_validate(
        {
            "stage_c": {"autoscaling": {"min_replicas": 1, "max_replicas": 4}},
            "stage_b": {"num_replicas": 2, "num_gpus": 0.5, "num_cpus": 1},
            "gateway": {"num_replicas": 3},
        }
    )
    found = options(build_with(settings, args, models_of(settings)))
    assert set(found) == {"Gateway", "Jobs", "StageE", "StageC", "StageB", "StageA"}
    assert found["Gateway"].num_replicas == 3
    assert found["StageC"]._deployment_config.autoscaling_config.max_replicas == 4
    assert found["StageB"].num_replicas == 2
    assert found["StageB"].ray_actor_options["num_gpus"] == 0.5
    assert found["StageA"].ray_actor_options["num_gpus"] == 0


@pytest.mark.parametrize(("args", "tries"), [({}, 20), ({"constructor_tries": 3}, 3)])
def test_a_start_that_fails_is_tried_again_as_often_as_was_asked_for(
    settings: Settings, args: dict[str, Any], tries: int
) -> None:
    found = options(build_with(settings, AppArgs.model_validate(args), models_of(settings)))
    counts = [one._deployment_config.max_constructor_retry_count for one in found.values()]
    assert counts == [tries] * len(found)


def test_on_a_gpu_the_stages_share_it_by_default(settings: Settings) -> None:
    on_gpu = settings.model_copy(update={"device": "cuda"})
    found = options(build_with(on_gpu, AppArgs(), models_of(on_gpu)))
    shares = [found[name].ray_actor_options["num_gpus"] for name in ("StageC", "StageB", "StageA")]
    assert shares == [0.5, 0.25, 0.25]


def test_several_models_share_one_gpu_and_a_few_cores_by_default(settings: Settings) -> None:
    on_gpu = settings.model_copy(update={"device": "cuda", "models": "demo,demo-flow"})
    sizes = AppArgs.model_validate({"stage_a@demo-flow": {"num_gpus": 0.5, "num_cpus": 1}})
    found = options(build_with(on_gpu, AppArgs(), models_of(on_gpu)))
    stages = [one.ray_actor_options for name, one in found.items() if name.startswith("Stage")]
    assert sum(one["num_gpus"] for one in stages) == 1
    assert sum(one["num_cpus"] for one in stages) == 1.5
    sized = options(build_with(on_gpu, sizes, models_of(on_gpu)))["StageA@demo-flow"]
    assert (sized.ray_actor_options["num_gpus"], sized.ray_actor_options["num_cpus"]) == (0.5, 1)


@pytest.mark.parametrize(("max_rows", "expected"), [(0, [8, 8, 4]), (1, [4] * 3), (16, [32] * 3)])
def test_a_replica_takes_twice_as_many_images_as_share_a_step(
    settings: Settings, max_rows: int, expected: list[int]
) -> None:
    chosen = settings.model_copy(update={"max_rows": max_rows})
    found = options(build_with(chosen, AppArgs(), models_of(chosen)))
    assert [found[stage.deployment].max_ongoing_requests for stage in STABLE_CASCADE.stages] == (
        expected
    )


@pytest.mark.parametrize("gpus", [0.0, 1.0])
def test_with_an_automatic_device_a_replica_takes_enough_images_for_each_device(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, gpus: float
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": gpus})
    stated = {"cpu": {"c": 9}, "cuda": {"c": 2, "b": 16}}
    monkeypatch.setattr("serve.app.open_checkpoint", _opened_with(max_rows=stated))
    automatic = settings.model_copy(update={"device": "auto"})
    found = options(build_with(automatic, AppArgs(), models_of(automatic)))
    ongoing = [found[name].max_ongoing_requests for name in ("StageC", "StageB", "StageA")]
    assert ongoing == [18, 32, 8]


def _opened_with(**changes: Any) -> Callable[..., Checkpoint]:
    def opened(*args: Any, **kwargs: Any) -> Checkpoint:
        return replace(open_checkpoint(*args, **kwargs), **changes)

    return opened


def test_a_family_has_a_deployment_for_each_of_its_stages(settings: Settings) -> None:
    args = AppArgs.model_validate({"stage_touch": {"num_replicas": 2}})
    found = options(build_with(settings, args, models_of(settings, FOUR_STAGES)))
    assert set(found) == {"Gateway", "Jobs", "StageC", "StageB", "StageTouch", "StageA"}
    assert found["StageTouch"].num_replicas == 2


@pytest.mark.parametrize("name", ["stage_x", "stage_"])
def test_the_size_of_a_stage_that_is_not_there_is_refused(settings: Settings, name: str) -> None:
    args = AppArgs.model_validate({name: {"num_replicas": 2}})
    with pytest.raises(SettingsInvalid, match="stage_c, stage_b, stage_a"):
        build_with(settings, args, models_of(settings))


def test_a_mistyped_argument_is_refused() -> None:
    with pytest.raises(ValidationError, match="gatewya"):
        AppArgs.model_validate({"gatewya": {"num_replicas": 2}})


def test_a_missing_model_is_told_before_anything_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_MODEL", str(settings.data_dir / "nowhere"))
    with pytest.raises(ModelUnavailable, match="nowhere"):
        build(AppArgs())
