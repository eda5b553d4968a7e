"""A gateway with two models: what it shows of each, and which one makes a picture."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef
from serve.gateway.dependencies import Services
from serve.served_models import Models, OpenModel
from tests.serve.api_calls import code, create, made
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.recorded_jobs import start


@pytest.fixture(autouse=True)
def _two_models(services: Services) -> None:
    first = services.models.default
    other = replace(first.checkpoint, id="me/other", fingerprint="f2", picture_encoder=None)
    family = STABLE_CASCADE.served_as("other")
    services.models = Models([first, OpenModel(family, other)], ["dall-e-3"])


async def of_other(client: httpx.AsyncClient, jobs: FakeJobsClient) -> str:
    """Return the latent of a picture that the second model has made."""
    jobs.model = ModelRef("me/other", "r1", "f2")
    job = await made(client, jobs, model="me/other")
    return str(job["images"][0]["latent_id"])


async def test_all_models_are_listed_the_default_first(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()["data"]
    assert [(model["id"], model["takes_uploads"]) for model in listed] == [
        ("demo", True),
        ("me/other", False),
    ]
    assert (await client.get("/v1/models/me/other")).json() == listed[1]


async def test_a_job_names_its_model_and_without_one_gets_the_first(
    client: httpx.AsyncClient,
) -> None:
    jobs = [await create(client), await create(client, model="me/other")]
    jobs += [await create(client, model="dall-e-3")]
    assert [job["request"]["model"] for job in jobs] == ["demo", "me/other", "demo"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images/generations"])
async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.post(path, json={"prompt": "x", "model": "gone"})
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (404, "model")
    assert error["code"] == "model_not_found"
    assert "'demo', 'me/other'" in error["message"]


async def test_a_latent_is_varied_by_its_own_model_unless_another_is_named(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    latent_id = await of_other(client, fake_jobs)
    vary = {"kind": "vary", "latent_id": latent_id}
    job = (await client.post("/v1/jobs", json=vary)).json()
    assert job["request"]["model"] == "me/other"
    refused = await client.post("/v1/jobs", json=vary | {"model": "demo"})
    assert code(refused) == "model_mismatch"
    message = refused.json()["error"]["message"]
    assert message == "this latent was made by me/other r1, and demo r1 cannot go on from it"


async def test_an_upload_goes_to_a_model_with_an_encoder_alone(client: httpx.AsyncClient) -> None:
    file = {"file": ("a.png", b"none", "image/png")}
    assert code(await client.post("/v1/uploads", files=file)) != "unsupported_combination"


async def test_the_status_tells_the_models_of_stages_apart(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = (await create(client, model="me/other"))["id"]
    start(fake_jobs.database, job_id)
    await fake_jobs.show_preview(job_id, "c", 1)
    stages = (await client.get("/v1/status")).json()["stages"]
    found = {(stage["model"], stage["deployment"]): stage["jobs"] for stage in stages}
    assert found["me/other", "StageC@other"] == 1
    assert found["demo", "StageC"] == 0


async def test_the_same_body_for_another_model_is_another_request(
    client: httpx.AsyncClient,
) -> None:
    headers = {"Idempotency-Key": "k"}
    body = {"prompt": "x", "seed": 1}
    first = await client.post("/v1/jobs", json=body, headers=headers)
    again = await client.post("/v1/jobs", json=body | {"model": "me/other"}, headers=headers)
    assert (first.status_code, again.status_code) == (202, 409)
