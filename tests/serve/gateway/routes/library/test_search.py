"""The library over HTTP: search, pages, the timeline and refusals."""

from __future__ import annotations

import httpx
import pytest

from tests.serve.api_calls import code, made
from tests.serve.fake_jobs_client import FakeJobsClient


async def test_pictures_are_searched_and_paged(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    first = await made(client, fake_jobs, prompt="a red heart", n=2)
    await made(client, fake_jobs, prompt="a blue ring")
    page = (await client.get("/v1/library", params={"q": "heart", "limit": 1})).json()
    (item,) = page["items"]
    assert (item["job_id"], item["prompt"]) == (first["id"], "a red heart")
    assert (await client.get(item["url"])).is_success
    assert (await client.get(item["thumb_url"])).is_success
    rest = {"q": "heart", "cursor": page["next_cursor"]}
    last = (await client.get("/v1/library", params=rest)).json()
    assert {item["id"], last["items"][0]["id"]} == {image["id"] for image in first["images"]}
    assert last["next_cursor"] is None
    timeline = (await client.get("/v1/library/timeline")).json()
    assert [day["count"] for day in timeline["days"]] == [3]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"q": "colour:red"}, "q"),
        ({"q": "x" * 501}, "q"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "../x.0"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
    ],
)
async def test_what_cannot_be_listed_is_refused_by_field(
    client: httpx.AsyncClient, params: dict[str, str], field: str
) -> None:
    answer = await client.get("/v1/library", params=params)
    assert (answer.status_code, code(answer)) == (400, "invalid_value")
    assert answer.json()["error"]["field"] == field


async def test_a_users_view_has_that_users_pictures_only(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    await made(client, fake_jobs, prompt="red", user="ann")
    await made(client, fake_jobs, prompt="red", user="bob")
    page = (await client.get("/v1/library", params={"q": "red", "user": "ann"})).json()
    assert len(page["items"]) == 1


async def test_the_oldest_come_first_if_asked(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await made(client, fake_jobs, n=3)
    ids = [image["id"] for image in job["images"]]
    first = (await client.get("/v1/library?order=oldest&limit=2")).json()
    assert [item["id"] for item in first["items"]] == ids[:2]
    cursor = {"cursor": first["next_cursor"]}
    rest = (await client.get("/v1/library", params=cursor | {"order": "oldest"})).json()
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == (ids[2:], None)
    back = (await client.get("/v1/library", params=cursor)).json()
    assert [item["id"] for item in back["items"]] == ids[:1]
    assert (await client.get("/v1/library?order=best")).status_code == 400
