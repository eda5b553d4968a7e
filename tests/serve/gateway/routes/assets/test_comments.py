"""Comments on assets over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from serve.gateway.dependencies import Services
from tests.serve.api_calls import NOT_THERE, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient


async def test_owner_and_reviewer_talk_about_a_point(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bea, dora = bearer("create", "read"), bearer("read", "review"), bearer("create", "read")
    answer = await client.post("/v1/jobs", json={"prompt": "a fox"}, headers=ann)
    await fake_jobs.run(answer.json()["id"])
    image_id = fake_jobs.images(answer.json()["id"])[0].id
    url = f"/v1/assets/{image_id}"
    assert (
        await client.post(f"{url}/comments", json={"text": "x"}, headers=bea)
    ).status_code == 404
    await client.post(f"{url}/transitions", json={"action": "submit"}, headers=ann)
    point = {"text": " the left ear\nis cut ", "x": 0.25, "y": 1}
    posted = await client.post(f"{url}/comments", json=point, headers=bea)
    comment = posted.json()
    assert (posted.status_code, comment["text"], comment["x"], comment["y"]) == (
        201, "the left ear\nis cut", 0.25, 1.0,
    )  # fmt: skip
    await client.post(f"{url}/comments", json={"text": "done"}, headers=ann)
    one = f"{url}/comments/{comment['id']}"
    resolved = await client.patch(one, json={"resolved": True}, headers=ann)
    assert resolved.json() == comment | {"resolved": True, "mine": False}
    assert (await client.delete(one, headers=ann)).status_code == 403
    assert (await client.get(url, headers=ann)).json()["comment_count"] == 2
    await client.post(f"{url}/transitions", json={"action": "approve"}, headers=bea)
    shown = (await client.get(f"{url}/comments", headers=dora)).json()["comments"]
    assert [(c["text"], c["mine"]) for c in shown] == [
        ("the left ear\nis cut", False), ("done", False),
    ]  # fmt: skip
    refused = await client.post(f"{url}/comments", json={"text": "me too"}, headers=dora)
    assert refused.status_code == 403
    assert (await client.delete(one, headers=bea)).status_code == 204
    assert (await client.delete(one, headers=bea)).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": " "}, "text"),
        ({"text": "x" * 4001}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": "x", "x": 0.5}, "y"),
        ({"text": "x", "y": 0.5}, "x"),
        ({"text": "x", "x": 1.1, "y": 0}, "x"),
        ({"text": "x", "x": -0.1, "y": 0}, "x"),
        ({"text": "x", "colour": "red"}, "colour"),
    ],
)
async def test_what_is_no_comment_is_refused_by_field(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, body: dict[str, Any], field: str
) -> None:
    (image,) = (await made(client, fake_jobs))["images"]
    answer = await client.post(f"/v1/assets/{image['id']}/comments", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)


async def test_unknown_comments_are_not_found(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, services: Services
) -> None:
    (image,) = (await made(client, fake_jobs))["images"]
    for name in set(NOT_THERE) - {".."}:  # which names the asset itself
        answer = await client.delete(f"/v1/assets/{image['id']}/comments/{name}")
        assert answer.status_code in (404, 405), name
    assert services.database.asset_comments.of_asset(image["id"]) == []
