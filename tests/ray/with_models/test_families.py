"""Families with other stages than Stable Cascade run through the unchanged service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.samples import Sample
from ray import serve as ray_serve

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.families.spec import Family
from serve.autoscaling.demand import arriving_key, open_work_key
from serve.autoscaling.policy import RATE_WINDOWS_S
from serve.local.running import APP_NAME, Running
from serve.settings import Settings
from serve.telemetry import metric_definitions as m
from tests.limits import HANG_S
from tests.metrics import wait_for_samples
from tests.ray.client import ServiceClient, pixels
from tests.ray.families.four_stages import FOUR_STAGES
from tests.ray.families.two_stages import TWO_STAGES
from tests.ray.shared_cluster import SharedCluster

SLOW = {"touch", "choose", "paint"}
JOB = {"prompt": "a large red circle", "seed": 0x123456, "steps": 2, "decoder_steps": 2}


@dataclass
class Served:
    """A family that runs on the shared cluster, and a job that it has done."""

    family: Family
    service: ServiceClient
    running: Running
    job: dict[str, Any]


@pytest.fixture(scope="module", params=[FOUR_STAGES, TWO_STAGES], ids=lambda family: family.name)
def served(
    request: pytest.FixtureRequest,
    cluster: SharedCluster,
    stage_class: type,
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    family: Family = request.param
    own_folder = tmp_path_factory.mktemp(family.name)
    own_files = Settings(
        **settings.model_dump(include=settings.model_fields_set - {"data_dir"}),
        data_dir=own_folder / "data",
        model=str(model_for_any_stages(own_folder / "model")),
    )
    running = cluster.serve(own_files, family, stage_class)
    with httpx.Client(base_url=running.url, timeout=HANG_S) as http:
        service = ServiceClient(http)
        service.wait_until_ready()
        yield Served(family, service, running, service.finished(service.create(**JOB)["id"]))


def model_for_any_stages(folder: Path) -> Path:
    """Copy the demo model without its max_rows, which name stages that a family may lack."""
    shutil.copytree(DEMO_MODEL_DIR, folder)
    about = folder / "cascade.json"
    stated = json.loads(about.read_text(encoding="utf-8"))
    del stated["max_rows"]
    about.write_text(json.dumps(stated), encoding="utf-8")
    return folder


def stages_in_order(service: ServiceClient, job: dict[str, Any]) -> list[str]:
    events = service.events(job["id"])
    stages = [event.data["stage"] for event in events if event.type == "progress"]
    return list(dict.fromkeys(stages))


def deployments(served: Served) -> set[str]:
    return {stage.deployment for stage in served.family.stages}


def test_a_job_passes_every_stage_in_order_and_tells_so(served: Served) -> None:
    assert (served.job["state"], served.job["error"]) == ("succeeded", None)
    told = stages_in_order(served.service, served.job)
    names = served.family.names
    assert told == [name for name in names if name in told]  # quick steps are not reported
    assert set(told) >= SLOW.intersection(names)


def test_a_job_names_the_seconds_of_each_stage(served: Served) -> None:
    cost = served.job["cost"]
    assert list(cost) == [stage.cost_key for stage in served.family.stages]
    assert all(seconds > 0 for seconds in cost.values())


def test_the_service_tells_its_clients_of_the_stages(served: Served) -> None:
    (model,) = served.service.http.get("/v1/models").json()["data"]
    told = [(stage["name"], stage["title"], stage["share"]) for stage in model["stages"]]
    assert told == [(stage.name, stage.title, stage.share) for stage in served.family.stages]
    replicas = served.service.http.get("/v1/status").json()["replicas"]
    assert replicas.keys() == deployments(served) | {"Gateway", "Jobs"}


def test_jobs_and_stages_offer_the_autoscaling_policy_their_figures(served: Served) -> None:
    jobs = ray_serve.get_deployment_handle("Jobs", APP_NAME)
    stats = jobs.record_autoscaling_stats.remote().result()
    names = served.family.names
    assert stats.keys() == {open_work_key(name) for name in names} | {
        arriving_key(name, window_s) for name in names for window_s in RATE_WINDOWS_S
    }
    assert all(stats[arriving_key(name, max(RATE_WINDOWS_S))] > 0 for name in names)
    for deployment in deployments(served):
        handle = ray_serve.get_deployment_handle(deployment, APP_NAME)
        assert handle.record_autoscaling_stats.remote().result()["seconds_per_work"] > 0


def test_queues_stages_and_hand_offs_are_measured_by_stage(served: Served) -> None:
    measured = (m.QUEUE_WAIT, m.STAGE_SERVICE, m.HANDOFF_SECONDS)
    expected = {(metric.series[1], name) for metric in measured for name in served.family.names}

    def are_all(samples: list[Sample]) -> bool:
        return expected <= {(sample.name, sample.labels.get("stage")) for sample in samples}

    names = {name for name, _ in expected}
    assert are_all(wait_for_samples(served.running, names, are_all))


def test_the_last_stage_makes_the_picture(served: Served) -> None:
    picture = pixels(served.service, served.job["images"][0]["id"])
    if served.family is TWO_STAGES:
        assert (picture == [0x12, 0x34, 0x56]).all()
    else:
        assert len({tuple(pixel) for row in picture for pixel in row}) > 100


def test_new_details_pass_the_stages_after_the_kept_output(served: Served) -> None:
    if served.family.kept is None:
        assert "vary_details" not in served.family.operations
        return
    latent_id = served.job["images"][0]["latent_id"]
    job = served.service.create(kind="vary_details", latent_id=latent_id)
    job = served.service.finished(job["id"])
    assert job["state"] == "succeeded"
    assert [stage for stage in stages_in_order(served.service, job) if stage != "a"] == [
        "b",
        "touch",
    ]
    assert job["cost"]["c_s"] == 0 < job["cost"]["touch_s"]
