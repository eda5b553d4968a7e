"""Two models run side by side on real Ray, each on deployments of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import httpx
import pytest

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from serve.autoscaling.demand import open_work_key
from serve.local.running import APP_NAME
from serve.settings import Settings
from tests.limits import HANG_S
from tests.ray.client import ServiceClient
from tests.ray.shared_cluster import SharedCluster

JOB = {"prompt": "a large red circle", "seed": 7, "steps": 2, "decoder_steps": 2}


@pytest.fixture(scope="module")
def service(
    cluster: SharedCluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceClient]:
    folder = tmp_path_factory.mktemp("several")
    shutil.copytree(DEMO_MODEL_DIR, folder / "model")
    about = folder / "model" / "cascade.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"name": "Other"}))
    own = Settings(
        **settings.model_dump(include=settings.model_fields_set - {"data_dir"}),
        data_dir=folder / "data",
        models=f"demo,{folder / 'model'}",
    )
    running = cluster.serve(own)
    with httpx.Client(base_url=running.url, timeout=HANG_S) as http:
        client = ServiceClient(http)
        client.wait_until_ready()
        yield client


def test_each_model_has_deployments_of_its_own(service: ServiceClient) -> None:
    status = service.http.get("/v1/status").json()
    own = {"StageC", "StageB", "StageA"}
    assert status["replicas"].keys() >= own | {f"{name}@other" for name in own}
    assert [stage["model"] for stage in status["stages"]] == ["demo"] * 4 + ["Other"] * 4


def test_jobs_of_both_are_done_by_the_model_that_they_name(service: ServiceClient) -> None:
    jobs = [service.create(**JOB), service.create(**JOB, model="Other")]
    ended = [service.finished(job["id"]) for job in jobs]
    assert [job["state"] for job in ended] == ["succeeded", "succeeded"]
    assert [job["request"]["model"] for job in ended] == ["demo", "Other"]
    assert all(seconds > 0 for job in ended for seconds in job["cost"].values())


def test_a_latent_goes_back_to_the_model_that_made_it(service: ServiceClient) -> None:
    made = service.finished(service.create(**JOB, model="Other")["id"])
    latent_id = made["images"][0]["latent_id"]
    varied = service.finished(service.create(kind="vary_details", latent_id=latent_id)["id"])
    assert (varied["state"], varied["request"]["model"]) == ("succeeded", "Other")


def test_the_work_of_each_model_is_told_apart(service: ServiceClient) -> None:
    from ray import serve as ray_serve

    jobs = ray_serve.get_deployment_handle("Jobs", APP_NAME)
    stats = jobs.record_autoscaling_stats.remote().result()
    assert {open_work_key(key) for key in ("c", "c@other", "a@other")} <= stats.keys()
