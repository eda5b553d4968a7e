"""Series over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.serve.api_calls import made
from tests.serve.fake_jobs_client import FakeJobsClient

VARIANTS = [{"colour": f"tint {number}"} for number in range(10)]


async def create(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    body = {"kind": "series", "template": "a {colour} star", "variants": VARIANTS}
    return await client.post("/v1/jobs", json=body | more)


async def hero_of(client: httpx.AsyncClient, fake_jobs: FakeJobsClient) -> str:
    latent_id: str = (await made(client, fake_jobs))["images"][0]["latent_id"]
    return latent_id


async def test_a_series_is_one_job_with_an_image_for_each_variant(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    hero = await hero_of(client, fake_jobs)
    answer = await create(client, hero=hero, seed=7)
    assert answer.status_code == 202
    request = answer.json()["request"]
    assert (request["kind"], request["n"], request["strength"]) == ("series", 10, 0.7)
    assert (request["prompt"], request["latent_id"]) == ("a {colour} star", hero)
    assert request["variants"] == VARIANTS
    await fake_jobs.run(answer.json()["id"])
    images = (await client.get(f"/v1/jobs/{answer.json()['id']}")).json()["images"]
    assert [image["index"] for image in images] == list(range(10))
    assert {(image["seed"], image["decoder_seed"]) for image in images} == {(7, 7)}
    assert len({image["latent_id"] for image in images} | {hero}) == 11


@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({"variants": []}, 400, "variants"),
        ({"variants": VARIANTS * 11}, 400, "variants"),
        ({"variants": [{"color": "red"}]}, 400, "variants[0]"),
        ({"template": "a red star"}, 400, "template"),
        ({"template": "a {colour star"}, 400, "template"),
        ({"strength": 2}, 400, "strength"),
        ({"n": 2}, 422, "n"),
        ({"hero": "nothing"}, 404, "hero"),
        ({"hero": None}, 422, "hero"),
        ({"latent_id": "01J"}, 422, "latent_id"),
        ({"kind": "generate", "prompt": "x", "hero": None}, 422, "template"),
        ({"kind": "vary", "latent_id": "01J", "hero": None}, 422, "template"),
    ],
)
async def test_what_makes_no_series_is_refused_by_name(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    more: dict[str, Any],
    status: int,
    field: str,
) -> None:
    answer = await create(client, **{"hero": await hero_of(client, fake_jobs)} | more)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


async def test_a_waiting_client_gets_the_picture_of_one_variant_and_is_told_that_more_are_none(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    hero = await hero_of(client, fake_jobs)
    fake_jobs.on_submit = fake_jobs.run
    body = {"kind": "series", "template": "a {colour} star", "hero": hero}
    headers = {"prefer": "wait=30", "accept": "image/png"}
    for variants, status in ((VARIANTS[:1], 200), (VARIANTS[:2], 406)):
        answer = await client.post("/v1/jobs", json=body | {"variants": variants}, headers=headers)
        assert answer.status_code == status
