"""Jobs that start from a stored latent, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.serve.api_calls import made
from tests.serve.fake_jobs_client import FakeJobsClient


async def create_from(client: httpx.AsyncClient, latent_id: str, **more: Any) -> httpx.Response:
    return await client.post("/v1/jobs", json={"latent_id": latent_id, **more})


@pytest.mark.parametrize(
    ("given", "strength"), [({}, 0.7), ({"strength": "strong"}, 0.9), ({"strength": 0}, 0)]
)
async def test_a_variation_resolves_its_strength_and_gets_a_latent_of_its_own(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    given: dict[str, Any],
    strength: float,
) -> None:
    latent_id = (await made(client, fake_jobs))["images"][0]["latent_id"]
    job = await create_from(client, latent_id, kind="vary", prompt="a fox", **given)
    request = job.json()["request"]
    assert job.status_code == 202
    assert (request["kind"], request["strength"], request["prompt"]) == ("vary", strength, "a fox")
    await fake_jobs.run(job.json()["id"])
    [image] = (await client.get(f"/v1/jobs/{job.json()['id']}")).json()["images"]
    assert image["latent_id"] != latent_id
    assert image["stage_c"] != "stored"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"kind": "vary", "strength": 1.5}, 400, "strength"),
        ({"kind": "vary", "strength": "wild"}, 400, "strength"),
        ({"kind": "vary", "strength": True}, 400, "strength"),
        ({"kind": "vary", "width": 256}, 422, "width"),
        ({"kind": "decode", "strength": 0.5}, 422, "strength"),
        ({"kind": "decode", "height": 512}, 422, "height"),
        ({"kind": "decode", "width": 300}, 400, "width"),
        ({"kind": "vary_details", "strength": 0.5}, 422, "strength"),
    ],
)
async def test_what_a_kind_does_not_take_is_refused_by_name(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    body: dict[str, Any],
    status: int,
    field: str,
) -> None:
    latent_id = (await made(client, fake_jobs))["images"][0]["latent_id"]
    answer = await create_from(client, latent_id, **body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)
