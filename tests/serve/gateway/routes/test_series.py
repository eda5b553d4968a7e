"""Series over HTTP."""

from __future__ import annotations

import json
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


async def test_without_a_hero_the_first_picture_is_new_and_the_others_descend_from_it(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    answer = await create(client, seed=7, variants=VARIANTS[:3])
    assert answer.status_code == 202
    request = answer.json()["request"]
    assert request["latent_id"] is None
    await fake_jobs.run(answer.json()["id"])
    job = (await client.get(f"/v1/jobs/{answer.json()['id']}")).json()
    hero, *others = job["images"]
    assert hero["derived_from"] is None
    assert hero["latent_id"] == request["hero_id"]
    source = {"operation": "vary", "latent_id": hero["latent_id"], "strength": 0.7}
    expected = source | {"image_id": hero["id"]}
    assert [image["derived_from"] for image in others] == [expected] * 2

    lineage = (await client.get(f"/v1/images/{hero['id']}/lineage")).json()
    children = [(child["operation"], child["image_id"]) for child in lineage["children"]]
    assert children == [("vary", image["id"]) for image in reversed(others)]
    [parent] = (await client.get(f"/v1/images/{others[0]['id']}/lineage")).json()["parents"]
    assert (parent["operation"], parent["image_id"]) == ("vary", hero["id"])


async def test_a_hundred_variants_of_the_longest_prompts_are_accepted_in_any_script(
    client: httpx.AsyncClient,
) -> None:
    variants = [{"text": f"{number:03}" + "\N{CJK UNIFIED IDEOGRAPH-5496}" * 1997}
                for number in range(100)]  # fmt: skip
    body = {"kind": "series", "template": "{text}", "variants": variants}
    headers = {"content-type": "application/json"}
    for escaped in (False, True):
        content = json.dumps(body, ensure_ascii=escaped).encode()
        answer = await client.post("/v1/jobs", content=content, headers=headers)
        assert answer.status_code == 202
        assert answer.json()["request"]["variants"] == variants


async def test_a_series_that_is_sent_again_with_its_key_makes_no_second_hero(
    client: httpx.AsyncClient,
) -> None:
    body = {"kind": "series", "template": "a {colour} star", "variants": VARIANTS}
    headers = {"idempotency-key": "once"}
    answers = [await client.post("/v1/jobs", json=body, headers=headers) for _ in range(2)]
    ids = {(answer.json()["id"], answer.json()["request"]["hero_id"]) for answer in answers}
    assert len(ids) == 1


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
        ({"width": 256}, 422, "width"),
        ({"hero": None, "width": 100}, 400, "width"),
        ({"hero": None, "n": 2}, 422, "n"),
        ({"hero_id": "01J"}, 400, "hero_id"),
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
