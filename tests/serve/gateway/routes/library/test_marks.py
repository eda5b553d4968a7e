"""Stars, ratings and tags over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.serve.api_calls import code, made
from tests.serve.fake_jobs_client import FakeJobsClient


async def test_an_image_is_starred_rated_and_tagged_and_found_by_it(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs, n=2))["images"][0]
    url = f"/v1/images/{image['id']}"
    marked = (await client.patch(url, json={"star": True, "tags": ["Red Hat", "shoe"]})).json()
    assert (marked["id"], marked["star"], marked["rating"]) == (image["id"], True, 0)
    assert marked["tags"] == ["red-hat", "shoe"]
    rated = (await client.patch(url, json={"rating": 4})).json()
    assert (rated["star"], rated["rating"], rated["tags"]) == (True, 4, ["red-hat", "shoe"])
    for q in ("star:yes", "rating:>=4", "tag:shoe"):
        page = (await client.get("/v1/library", params={"q": q})).json()
        assert page["items"] == [rated], q
    cleared = (await client.patch(url, json={"star": False, "rating": 0, "tags": []})).json()
    assert (cleared["star"], cleared["rating"], cleared["tags"]) == (False, 0, [])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"star": 1}, "star"),
        ({"rating": 6}, "rating"),
        ({"rating": -1}, "rating"),
        ({"rating": 2.5}, "rating"),
        ({"tags": "shoe"}, "tags"),
        ({"tags": ["a\nb"]}, "tags"),
        ({"tags": ["x" * 41]}, "tags"),
        ({"tags": ["x"] * 21}, "tags"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_noted_is_refused_by_field(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, body: dict[str, Any], field: str
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    answer = await client.patch(f"/v1/images/{image['id']}", json=body)
    assert (answer.status_code, code(answer)) == (400, "invalid_value")
    assert answer.json()["error"]["field"].startswith(field)


async def test_a_deleted_image_cannot_be_marked(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    await client.delete(f"/v1/images/{image['id']}")
    answer = await client.patch(f"/v1/images/{image['id']}", json={"star": True})
    assert (answer.status_code, code(answer)) == (410, "gone")
