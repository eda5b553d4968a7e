"""Three families serve side by side with their real stages; two have random weights."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from serve.settings import Settings
from tests.cascade_core.modular.tiny_models import WRITERS
from tests.limits import HANG_S
from tests.ray.client import ServiceClient, pixels, replica_process
from tests.ray.shared_cluster import SharedCluster
from tests.tiny_wuerstchen import build_tiny_wuerstchen, write_combined

MODELS = ("demo-flow", "tiny-wuerstchen", "tiny-sdxl")
JOB = {"prompt": "a large red circle", "seed": 7, "steps": 2, "width": 256, "height": 256}
TRIES = 20


@pytest.fixture(scope="module")
def service(
    cluster: SharedCluster,
    settings: Settings,
    stage_class: type,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServiceClient]:
    folder = tmp_path_factory.mktemp("families")
    write_combined(build_tiny_wuerstchen(), folder / "tiny-wuerstchen")
    WRITERS["sdxl"](folder / "tiny-sdxl")
    own = Settings(
        **settings.model_dump(include=settings.model_fields_set - {"data_dir"}),
        data_dir=folder / "data",
        models=",".join([MODELS[0], *(str(folder / name) for name in MODELS[1:])]),
    )
    running = cluster.serve(own, stage_class=stage_class)
    with httpx.Client(base_url=running.url, timeout=HANG_S) as http:
        client = ServiceClient(http)
        client.wait_until_ready()
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_every_family_draws_and_varies_its_own_latents(service: ServiceClient, model: str) -> None:
    made = service.finished(service.create(**JOB, model=model)["id"])
    assert (made["state"], made["error"]) == ("succeeded", None)
    assert pixels(service, made["images"][0]["id"]).shape == (256, 256, 3)
    latent_id = made["images"][0]["latent_id"]
    varied = service.finished(service.create(kind="vary", latent_id=latent_id)["id"])
    assert (varied["state"], varied["request"]["model"]) == ("succeeded", model)


def begun(service: ServiceClient, model: str, stage: str) -> str:
    """Return the id of a job that a stage works on; on a busy machine one may end unseen."""
    for _ in range(TRIES):
        job_id: str = service.create(**JOB | {"steps": 100, "n": 4}, model=model)["id"]
        for event in service.events(job_id):
            if event.type == "progress" and event.data.get("stage") == stage:
                return job_id
    raise AssertionError(f"no progress of stage {stage} was seen")


@pytest.mark.parametrize("model", MODELS)
def test_a_job_of_every_family_survives_the_death_of_its_first_stages_replica(
    service: ServiceClient, model: str
) -> None:
    (stage, *_) = [
        stage
        for stage in service.http.get("/v1/status").json()["stages"]
        if stage["model"] == model
    ]
    job_id = begun(service, model, stage["name"])
    replica_process(stage["deployment"]).kill()
    assert service.finished(job_id)["state"] == "succeeded"
