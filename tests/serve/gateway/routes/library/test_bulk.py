"""Many pictures changed by one request."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from serve.gateway.routes.library import bulk
from serve.storage.blobs.blob_keys import image_key, latent_key
from serve.storage.blobs.blob_store import BlobStore
from tests.serve.api_calls import code, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient


async def change(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/images/bulk", json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def items(client: httpx.AsyncClient, q: str = "") -> list[dict[str, Any]]:
    page = await client.get("/v1/library", params={"q": q})
    found: list[dict[str, Any]] = page.json()["items"]
    return found


async def test_every_action_is_done_by_ids_and_by_a_search(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    ids = [image["id"] for image in (await made(client, fake_jobs, n=2))["images"]]
    board = (await client.post("/v1/boards", json={"title": "x"})).json()["id"]
    done = {"changed": 2, "failed": [], "more": False}
    for undone, wanted in (
        ({"action": "star"}, {"q": "star:yes", "action": "unstar"}),
        ({"action": "rate", "value": 4}, {"q": "rating:4", "action": "rate", "value": 0}),
        ({"action": "tag", "value": "A b"}, {"q": "tag:a-b", "action": "untag", "value": "a b"}),
        (
            {"action": "add_to_board", "value": board},
            {"q": f"board:{board}", "action": "remove_from_board", "value": board},
        ),
    ):
        assert await change(client, ids=ids, **undone) == done
        assert len(await items(client, str(wanted["q"]))) == 2
        assert await change(client, **wanted) == done
        assert await items(client, str(wanted["q"])) == []


async def test_deleted_pictures_leave_no_file(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    blobs: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = (await made(client, fake_jobs, n=3))["images"]
    one = images[0]
    gone = await change(client, ids=[one["id"], "nope"], action="delete")
    assert (gone["changed"], gone["more"]) == (1, False)
    assert [(each["id"], each["code"]) for each in gone["failed"]] == [("nope", "not_found")]
    assert not await blobs.exists(image_key(one["id"], "png"))
    assert not await blobs.exists(latent_key(one["latent_id"]))
    monkeypatch.setattr(bulk, "MAX_PICTURES", 1)
    first = await change(client, q="circle", action="delete")
    last = await change(client, q="circle", action="delete")
    assert [(each["changed"], each["more"]) for each in (first, last)] == [(1, True), (1, False)]
    assert await items(client) == []
    assert not await blobs.exists(image_key(images[2]["id"], "png"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "star"}, "ids"),
        ({"action": "star", "ids": ["a"], "q": ""}, "ids"),
        ({"action": "star", "ids": []}, "ids"),
        ({"action": "star", "ids": ["a"] * 501}, "ids"),
        ({"action": "star", "ids": ["\ud800"]}, "ids"),
        ({"action": "star", "ids": ["a"], "value": 1}, "value"),
        ({"action": "delete", "ids": ["a"], "value": "x"}, "value"),
        ({"action": "delete", "q": "❤ ..."}, "q"),
        ({"action": "rate", "ids": ["a"], "value": 6}, "value"),
        ({"action": "rate", "ids": ["a"], "value": "4"}, "value"),
        ({"action": "tag", "ids": ["a"]}, "value"),
        ({"action": "tag", "ids": ["a"], "value": "a\nb"}, "value"),
        ({"action": "add_to_board", "ids": ["a"], "value": 3}, "value"),
        ({"action": "paint", "ids": ["a"]}, "action"),
        ({"action": "star", "q": "colour:red"}, "q"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    # In ASCII: half of a surrogate pair has no other form.
    sent, headers = json.dumps(body), {"content-type": "application/json"}
    answer = await client.post("/v1/images/bulk", content=sent, headers=headers)
    assert (answer.status_code, code(answer)) == (400, "invalid_value")
    assert answer.json()["error"]["field"].startswith(field)


async def test_the_pictures_and_boards_of_another_key_are_not_there(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob = bearer("create", "read"), bearer("create", "read")
    job = (await client.post("/v1/jobs", json={"prompt": "x"}, headers=ann)).json()
    await fake_jobs.run(job["id"])
    image_id = fake_jobs.images(job["id"])[0].id
    board = (await client.post("/v1/boards", json={"title": "x"}, headers=ann)).json()["id"]
    url = "/v1/images/bulk"
    for body in ({"ids": [image_id]}, {"q": ""}):
        for action in ("star", "delete"):
            answer = (await client.post(url, json=body | {"action": action}, headers=bob)).json()
            assert answer["changed"] == 0
            assert [one["code"] for one in answer["failed"]] == ["not_found"] * len(
                body.get("ids", ())
            )
    body = {"ids": [image_id], "action": "add_to_board", "value": board}
    assert (await client.post(url, json=body, headers=bob)).status_code == 404
    assert (await client.get(f"/v1/images/{image_id}", headers=ann)).is_success
