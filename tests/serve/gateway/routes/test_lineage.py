"""What pictures descend from, as clients see it, and what a deletion says of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from serve.storage.lineage import MAX_NAMED
from tests.serve.api_calls import NOT_THERE, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

Headers = dict[str, str]


async def varied(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, latent_id: str, **body: Any
) -> dict[str, Any]:
    """Return a job that drew details on a latent."""
    return await made(
        client, fake_jobs, prompt=None, kind="vary_details", latent_id=latent_id, **body
    )


async def lineage(client: httpx.AsyncClient, image_id: str, **params: Any) -> dict[str, Any]:
    answer = await client.get(f"/v1/images/{image_id}/lineage", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_variation_says_what_it_is_derived_from(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    original = (await made(client, fake_jobs))["images"][0]
    assert original["derived_from"] is None
    assert "x-source-latent-id" not in (await client.get(f"/v1/images/{original['id']}")).headers
    image = (await varied(client, fake_jobs, original["latent_id"]))["images"][0]
    assert image["derived_from"] == {
        "operation": "vary_details",
        "strength": None,
        "latent_id": original["latent_id"],
        "image_id": original["id"],
    }
    picture = await client.get(f"/v1/images/{image['id']}")
    assert picture.headers["x-source-latent-id"] == original["latent_id"]


async def test_the_lineage_names_parents_and_children_page_by_page(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    original = (await made(client, fake_jobs))["images"][0]
    job = await varied(client, fake_jobs, original["latent_id"], n=3)
    ids = sorted((image["id"] for image in job["images"]), reverse=True)
    first = await lineage(client, original["id"], limit=2)
    assert first["parents"] == []
    assert [child["image_id"] for child in first["children"]] == ids[:2]
    second = await lineage(client, original["id"], limit=2, cursor=first["next_cursor"])
    assert [child["image_id"] for child in second["children"]] == ids[2:]
    assert second["next_cursor"] is None
    shown = await lineage(client, ids[0])
    assert shown["children"] == []
    assert [parent["image_id"] for parent in shown["parents"]] == [original["id"]]


@pytest.mark.parametrize("image_id", NOT_THERE)
async def test_an_unknown_image_has_no_lineage(client: httpx.AsyncClient, image_id: str) -> None:
    assert (await client.get(f"/v1/images/{image_id}/lineage")).status_code == 404


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"cursor": "a b"}])
async def test_a_page_that_cannot_be_is_400(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, params: dict[str, Any]
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    answer = await client.get(f"/v1/images/{image['id']}/lineage", params=params)
    assert answer.status_code == 400


async def test_other_callers_pictures_are_neither_found_nor_named(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob, root = bearer("create", "read"), bearer("create", "read"), bearer("admin")
    original = await _made_as(client, fake_jobs, ann)
    by_root = await _made_as(client, fake_jobs, root, latent_id=original["latent_id"])
    by_ann = await _made_as(client, fake_jobs, ann, latent_id=original["latent_id"])

    async def answer(headers: Headers, image_id: str) -> httpx.Response:
        return await client.get(f"/v1/images/{image_id}/lineage", headers=headers)

    assert (await answer(bob, original["id"])).status_code == 404
    seen = (await answer(ann, original["id"])).json()
    assert [child["image_id"] for child in seen["children"]] == [by_ann["id"]]
    seen = (await answer(root, original["id"])).json()
    assert {child["image_id"] for child in seen["children"]} == {by_ann["id"], by_root["id"]}
    deleted = await client.delete(f"/v1/images/{original['id']}", headers=ann)
    assert deleted.headers["x-dependant-ids"] == by_ann["id"]


async def test_a_trusted_key_sees_a_users_part_of_the_lineage_when_it_acts_for_the_user(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    bot = bearer("create", "read", "trusted")
    original = await _made_as(client, fake_jobs, bot, user="ann")
    unnamed = await _made_as(client, fake_jobs, bot, latent_id=original["latent_id"])
    path, params = f"/v1/images/{original['id']}/lineage", {"user": "ann"}
    assert (await client.get(path, headers=bot, params=params)).json()["children"] == []
    (child,) = (await client.get(path, headers=bot)).json()["children"]
    assert child["image_id"] == unnamed["id"]


async def test_a_deletion_says_what_was_made_from_the_picture_and_leaves_it_whole(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    original = (await made(client, fake_jobs))["images"][0]
    latent_id = original["latent_id"]
    variation = (await varied(client, fake_jobs, latent_id))["images"][0]
    body = {"kind": "vary_details", "latent_id": latent_id}
    open_job = (await client.post("/v1/jobs", json=body)).json()
    planned = fake_jobs.images(open_job["id"])[0]

    answer = await client.delete(f"/v1/images/{original['id']}")
    assert answer.status_code == 204
    assert answer.headers["x-dependant-count"] == "2"
    assert set(answer.headers["x-dependant-ids"].split(",")) == {variation["id"], planned.id}
    assert (await client.get(f"/v1/latents/{latent_id}")).status_code == 200
    assert (await client.post("/v1/jobs", json=body)).status_code == 202

    await fake_jobs.run(open_job["id"])
    for image_id in (variation["id"], planned.id):
        assert (await client.get(f"/v1/images/{image_id}")).status_code == 200
        (parent,) = (await lineage(client, image_id))["parents"]
        assert (parent["image_id"], parent["is_deleted"]) == (original["id"], True)


async def test_a_deletion_on_which_nothing_depends_says_so_and_the_last_picture_takes_the_latent(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    original = (await made(client, fake_jobs))["images"][0]
    variation = (await varied(client, fake_jobs, original["latent_id"]))["images"][0]
    for image in (original, variation):
        last = await client.delete(f"/v1/images/{image['id']}")
    assert last.headers["x-dependant-count"] == "0"
    assert "x-dependant-ids" not in last.headers
    assert (await client.get(f"/v1/latents/{original['latent_id']}")).status_code == 410


async def test_a_deletion_counts_all_dependants_and_names_the_newest(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    original = (await made(client, fake_jobs))["images"][0]
    for _ in range(3):
        await varied(client, fake_jobs, original["latent_id"], n=8)
    headers = (await client.delete(f"/v1/images/{original['id']}")).headers
    assert headers["x-dependant-count"] == "24"
    assert len(headers["x-dependant-ids"].split(",")) == MAX_NAMED


async def _made_as(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, headers: Headers, **body: Any
) -> dict[str, Any]:
    """Return the one image of a job of this caller."""
    kind = {"kind": "vary_details"} if "latent_id" in body else {"prompt": "x"}
    answer = await client.post("/v1/jobs", json=kind | body, headers=headers)
    assert answer.status_code == 202, answer.text
    await fake_jobs.run(answer.json()["id"])
    job = (await client.get(answer.headers["location"], headers=headers)).json()
    image: dict[str, Any] = job["images"][0]
    return image
