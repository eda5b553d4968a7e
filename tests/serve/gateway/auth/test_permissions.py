"""Scopes and owners: what each key may do, and which jobs and images it finds."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from serve.gateway.auth.permissions import Caller
from tests.serve.api_calls import code
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

Headers = dict[str, str]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are read again for every request."""
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)


async def made(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, headers: Headers, **body: Any
) -> dict[str, Any]:
    """Return a job that has succeeded."""
    answer = await client.post("/v1/jobs", json={"prompt": "x"} | body, headers=headers)
    assert answer.status_code == 202, answer.text
    await fake_jobs.run(answer.json()["id"])
    job: dict[str, Any] = answer.json() | {"images": []}
    job["images"] = [image.to_json() for image in fake_jobs.images(job["id"])]
    return job


async def listed(client: httpx.AsyncClient, headers: Headers, **params: str) -> list[str]:
    answer = await client.get("/v1/jobs", headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


async def vary(
    client: httpx.AsyncClient, headers: Headers, latent_id: str, **more: str
) -> httpx.Response:
    body = {"kind": "vary_details", "latent_id": latent_id} | more
    return await client.post("/v1/jobs", json=body, headers=headers)


async def test_a_missing_scope_is_forbidden_and_named(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    reader, creator = bearer("read"), bearer("create")
    refused = await client.post("/v1/jobs", json={"prompt": "x"}, headers=reader)
    assert (refused.status_code, code(refused)) == (403, "forbidden")
    assert "'create'" in refused.json()["error"]["message"]
    accepted = await client.post("/v1/jobs", json={"prompt": "x"}, headers=creator)
    assert accepted.status_code == 202
    assert (await client.get("/v1/jobs", headers=creator)).status_code == 403


async def test_a_key_lists_its_own_jobs_and_an_admin_all(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob, root = bearer("create", "read"), bearer("create", "read"), bearer("admin")
    of_ann, of_bob = (
        await made(client, fake_jobs, ann, user="x"),
        await made(client, fake_jobs, bob),
    )
    assert await listed(client, ann) == [of_ann["id"]]
    assert await listed(client, bob) == [of_bob["id"]]
    assert await listed(client, bob, user="x") == []
    assert await listed(client, root) == [of_bob["id"], of_ann["id"]]
    assert await listed(client, root, user="x") == [of_ann["id"]]
    own = await made(client, fake_jobs, root)
    assert await listed(client, root, own="true") == [own["id"]]
    assert await listed(client, bob, own="true") == [of_bob["id"]]
    shown = (await client.get("/v1/jobs", headers=root)).json()["jobs"]
    assert len({job["key_id"] for job in shown}) == 3


async def test_an_inbox_holds_the_jobs_of_its_own_key_alone_for_an_admin_too(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    """A bot with an admin's key would deliver what another key addressed."""
    ann, root = bearer("create", "read"), bearer("admin")
    own = {}
    for headers in (ann, root):
        body = {"prompt": "x", "client_state": {"inbox": "bot"}}
        answer = await client.post("/v1/jobs", json=body, headers=headers)
        own[headers["authorization"]] = answer.json()["id"]
    for headers in (ann, root):
        assert await listed(client, headers, inbox="bot") == [own[headers["authorization"]]]


@pytest.mark.usefixtures("fresh")
async def test_jobs_from_before_the_first_key_are_for_admins_only(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    job = await made(client, fake_jobs, {})
    ann, root = bearer("create", "read", "trusted"), bearer("admin")
    path, latent_id = f"/v1/jobs/{job['id']}", job["images"][0]["latent_id"]
    assert (await client.get(path, headers=ann)).status_code == 404
    assert (await vary(client, ann, latent_id)).status_code == 404
    assert await listed(client, ann) == []
    assert (await client.get(path, headers=root)).status_code == 200


async def test_what_a_trusted_key_does_for_a_user_reaches_that_users_things_only(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    bot = bearer("create", "read", "trusted")
    job = await made(client, fake_jobs, bot, user="ann")
    image = job["images"][0]
    paths = [f"/v1/jobs/{job['id']}", f"/v1/images/{image['id']}"]
    for path in [*paths, f"/v1/latents/{image['latent_id']}"]:
        statuses = {
            user: (await client.get(path, headers=bot, params=params)).status_code
            for user, params in {"": {}, "ann": {"user": "ann"}, "bob": {"user": "bob"}}.items()
        }
        assert statuses == {"": 200, "ann": 200, "bob": 404}
    for path in paths:
        answer = await client.delete(path, headers=bot, params={"user": "bob"})
        assert answer.status_code == 404
    assert (await vary(client, bot, image["latent_id"], user="bob")).status_code == 404
    assert (await vary(client, bot, image["latent_id"], user="ann")).status_code == 202
    assert (await vary(client, bot, image["latent_id"])).status_code == 202
    mine = await client.delete(paths[1], headers=bot, params={"user": "ann"})
    assert mine.status_code == 204


async def test_a_plain_key_has_labels_but_does_not_act_for_users(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob = bearer("create", "read"), bearer("create", "read")
    job = await made(client, fake_jobs, ann, user="x")
    latent_id = job["images"][0]["latent_id"]
    assert await listed(client, ann, user="x") == [job["id"]]
    assert (await vary(client, ann, latent_id, user="y")).status_code == 202
    assert (await vary(client, bob, latent_id, user="x")).status_code == 404
    for method in ("GET", "DELETE"):
        answer = await client.request(
            method, f"/v1/jobs/{job['id']}", headers=ann, params={"user": "x"}
        )
        assert (answer.status_code, code(answer)) == (403, "forbidden")


def test_a_plain_key_takes_one_users_turns_however_many_it_names() -> None:
    plain, trusted = (Caller("k", frozenset({"create", scope})) for scope in ("read", "trusted"))
    assert plain.owner("a").queue_user == plain.owner("b").queue_user
    assert trusted.owner("a").queue_user != trusted.owner("b").queue_user


async def test_without_keys_a_named_user_is_checked_all_the_same(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs, {}, user="ann"))["images"][0]
    refused = await client.delete(f"/v1/images/{image['id']}", params={"user": "bob"})
    assert (refused.status_code, code(refused)) == (404, "not_found")
    assert (await vary(client, {}, image["latent_id"], user="bob")).status_code == 404
    assert (await client.delete(f"/v1/images/{image['id']}")).status_code == 204
