"""Boards over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.serve.api_calls import code, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient


async def test_a_board_is_made_renamed_filled_emptied_and_deleted(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    images = [image["id"] for image in (await made(client, fake_jobs, n=2))["images"]]
    answer = await client.post("/v1/boards", json={"title": " Summer "})
    assert (answer.status_code, answer.json()["title"]) == (201, "Summer")
    url = f"/v1/boards/{answer.json()['id']}"
    renamed = (await client.patch(url, json={"title": "Winter"})).json()
    assert renamed == answer.json() | {"title": "Winter"}
    put = (await client.put(f"{url}/pictures", json={"ids": [*images, "nope", "a\0b"]})).json()
    assert (put["changed"], put["more"]) == (2, False)
    assert [(one["id"], one["code"]) for one in put["failed"]] == [
        ("nope", "not_found"),
        ("a\0b", "not_found"),
    ]
    (board,) = (await client.get("/v1/boards")).json()["boards"]
    assert board == renamed | {"count": 2}
    page = (await client.get("/v1/library", params={"q": f"board:{board['id']}"})).json()
    assert {item["id"] for item in page["items"]} == set(images)
    assert all(item["boards"] == [board["id"]] for item in page["items"])
    body = {"ids": images[:1]}
    taken = (await client.request("DELETE", f"{url}/pictures", json=body)).json()
    assert taken["changed"] == 1
    assert (await client.delete(url)).status_code == 204
    assert (await client.get("/v1/boards")).json() == {"boards": []}
    assert (await client.get(f"/v1/images/{images[1]}")).is_success
    for again in (client.delete(url), client.patch(url, json={"title": "x"})):
        answer = await again
        assert (answer.status_code, code(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": ""}, "title"),
        ({"title": "  "}, "title"),
        ({"title": "x" * 81}, "title"),
        ({"title": "a\nb"}, "title"),
        ({"title": 7}, "title"),
        ({"title": "x", "colour": "red"}, "colour"),
    ],
)
async def test_what_is_no_board_is_refused_by_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v1/boards", json=body)
    assert (answer.status_code, code(answer)) == (400, "invalid_value")
    assert answer.json()["error"]["field"] == field


async def test_the_pictures_of_another_key_come_on_no_board(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob = bearer("create", "read"), bearer("create", "read")
    job = (await client.post("/v1/jobs", json={"prompt": "x"}, headers=ann)).json()
    await fake_jobs.run(job["id"])
    image_id = fake_jobs.images(job["id"])[0].id
    board = (await client.post("/v1/boards", json={"title": "x"}, headers=bob)).json()
    url = f"/v1/boards/{board['id']}/pictures"
    answer = (await client.put(url, json={"ids": [image_id]}, headers=bob)).json()
    assert answer["changed"] == 0
    assert [one["code"] for one in answer["failed"]] == ["not_found"]
    assert (await client.put(url, json={"ids": [image_id]}, headers=ann)).status_code == 404


async def test_the_board_of_a_user_is_seen_by_that_user(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    await client.post("/v1/boards?user=ann", json={"title": "x"})
    for user, count in (("ann", 1), ("bob", 0)):
        listed = (await client.get("/v1/boards", params={"user": user})).json()["boards"]
        assert len(listed) == count
