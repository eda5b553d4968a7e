"""Keys that may use some of a service's models: the others are as if they were not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef
from serve.gateway.auth import key_cache
from serve.gateway.dependencies import Services
from serve.served_models import Models, OpenModel
from serve.storage.access.credentials import KeyStore
from tests.serve.api_calls import code, create, drafted, made
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.auth.signed_in import sign_in

Using = Callable[..., None]


@pytest.fixture(autouse=True)
def _two_models(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "CACHE_S", 0.0)
    first = services.models.default
    other = replace(first.checkpoint, id="me/other", fingerprint="f2", picture_encoder=None)
    other = replace(other, previewer=Path("preview.json"))
    family = STABLE_CASCADE.served_as("other")
    services.models = Models([first, OpenModel(family, other)], ["dall-e-3"])


@pytest.fixture
def using(client: httpx.AsyncClient, keys: KeyStore) -> Using:
    """Has the client send an admin's key that may use these models; all if none is named."""

    def use(*models: str) -> None:
        _, token = keys.create("ann", ["admin"], models=models or None)
        client.headers["authorization"] = f"Bearer {token}"

    return use


async def test_a_key_sees_the_models_that_it_may_use(
    client: httpx.AsyncClient, using: Using
) -> None:
    seen = []
    for models in ([], ["me/other"], ["me/other", "demo", "not there yet"]):
        using(*models)
        listed = (await client.get("/v1/models")).json()["data"]
        stages = (await client.get("/v1/status")).json()["stages"]
        assert {stage["model"] for stage in stages} == {model["id"] for model in listed}
        seen.append([model["id"] for model in listed])
    assert seen == [["demo", "me/other"], ["me/other"], ["demo", "me/other"]]


async def test_its_default_is_the_first_that_it_may_use_by_any_name_of_the_default(
    client: httpx.AsyncClient, using: Using
) -> None:
    using("me/other")
    jobs = [await create(client), await create(client, model="dall-e-3")]
    assert [job["request"]["model"] for job in jobs] == ["me/other", "me/other"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images/generations"])
async def test_another_model_is_answered_like_an_unknown_one(
    client: httpx.AsyncClient, using: Using, path: str
) -> None:
    using("me/other")
    answers = [await client.post(path, json={"prompt": "x", "model": m}) for m in ("demo", "gone")]
    answers += [await client.get("/v1/models/demo"), await client.get("/v1/models/gone")]
    assert [answer.status_code for answer in answers] == [404] * 4
    messages = {answer.json()["error"]["message"] for answer in answers}
    assert messages == {"there is no such model; served here: 'me/other'"}


async def test_what_another_model_made_is_seen_but_not_varied(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, using: Using
) -> None:
    using("demo", "me/other")
    fake_jobs.model = ModelRef("me/other", "r1", "f2")
    job = await made(client, fake_jobs, model="me/other")
    using("demo")
    [image] = job["images"]
    assert (await client.get(f"/v1/images/{image['id']}")).status_code == 200
    for body in (
        {"kind": "vary", "latent_id": image["latent_id"]},
        {"kind": "image_to_image", "prompt": "x", "image": image["id"]},
    ):
        assert code(await client.post("/v1/jobs", json=body)) == "model_mismatch"


@pytest.mark.parametrize("step", ["continue", "redo"])
async def test_a_job_of_another_model_that_waits_does_not_go_on(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, using: Using, step: str
) -> None:
    using()
    fake_jobs.model = ModelRef("me/other", "r1", "f2")
    job = await drafted(client, fake_jobs, model="me/other")
    using("demo")
    path, body = f"/v1/jobs/{job['id']}/{step}", {"indices": [0]}
    refused = await client.post(path, json=body)
    assert (refused.status_code, refused.json()["error"]["field"]) == (404, "model")
    using("me/other")
    assert (await client.post(path, json=body)).status_code == 202


async def test_an_upload_needs_an_encoder_of_a_model_that_the_key_may_use(
    client: httpx.AsyncClient, using: Using
) -> None:
    using("me/other")
    answer = await client.post("/v1/uploads", files={"file": ("a.png", b"none", "image/png")})
    assert code(answer) == "unsupported_combination"


async def test_a_key_that_may_use_none_of_the_models_is_refused(
    client: httpx.AsyncClient, using: Using
) -> None:
    using("gone")
    answers = [await client.get("/v1/models"), await client.post("/v1/jobs", json={"prompt": "x"})]
    assert [code(answer) for answer in answers] == ["forbidden", "forbidden"]


async def test_a_session_may_use_what_its_key_may(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    _, token = keys.create("ann", ["read"], models=["me/other"])
    assert (await sign_in(client, token)).is_success
    assert (await client.get("/v1/models/demo")).status_code == 404


async def test_an_admin_sets_and_sees_the_models_of_a_key(
    client: httpx.AsyncClient, using: Using
) -> None:
    using()
    body = {"name": "bob", "scopes": ["read"]}
    shown = [
        (await client.post("/v1/keys", json=body | {"models": ["me/other", "me/other"]})).json(),
        *(await client.get("/v1/keys")).json()["keys"],
    ]
    assert [key["models"] for key in shown] == [["me/other"], None, ["me/other"]]
    client.headers["authorization"] = f"Bearer {shown[0]['token']}"
    assert (await client.get("/v1/models/demo")).status_code == 404


@pytest.mark.parametrize("models", [[], [""], ["x" * 257], ["a\nb"], ["a"] * 65, "demo"])
async def test_models_that_are_no_ids_are_refused(
    client: httpx.AsyncClient, keys: KeyStore, using: Using, models: object
) -> None:
    using()
    body = {"name": "bob", "scopes": ["read"], "models": models}
    answer = await client.post("/v1/keys", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"].startswith("models")
    assert len(keys.all()) == 1
