"""A request that comes again becomes the same job; another one under its name is refused."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from ulid import ULID

from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

BODY = {"kind": "generate", "prompt": "a red circle"}


async def post(client: httpx.AsyncClient, key: str = "", **body: object) -> httpx.Response:
    headers = {"idempotency-key": key} if key else {}
    return await client.post("/v1/jobs", json=BODY | body, headers=headers)


async def test_the_same_key_and_body_give_the_same_job_even_after_its_end(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    first = (await post(client, "k")).json()
    assert (await post(client, "k")).json() == first
    await fake_jobs.run(first["id"])
    again = await post(client, "k")
    assert again.status_code == 202
    assert (again.json()["id"], again.json()["state"]) == (first["id"], "succeeded")
    assert (await client.get("/v1/jobs")).json()["jobs"] == [again.json()]


async def test_without_a_key_every_request_is_a_new_job(client: httpx.AsyncClient) -> None:
    ids = {(await post(client)).json()["id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("change", [{"prompt": "a blue one"}, {"seed": 3}, {"client_state": {}}])
async def test_the_same_key_with_another_body_is_a_conflict(
    client: httpx.AsyncClient, change: dict[str, object]
) -> None:
    await post(client, "k")
    answer = await post(client, "k", **change)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "idempotency_mismatch"


async def test_a_client_may_choose_the_id_and_ask_again_with_it(client: httpx.AsyncClient) -> None:
    job_id = str(ULID())
    first = await post(client, id=job_id)
    assert first.json()["id"] == job_id
    assert (await post(client, id=job_id)).json() == first.json()
    assert (await post(client, id=job_id, prompt="another")).status_code == 409


async def test_an_id_and_a_key_of_two_jobs_do_not_go_together(client: httpx.AsyncClient) -> None:
    job_id = str(ULID())
    await post(client, id=job_id)
    await post(client, "k")
    assert (await post(client, "k", id=job_id)).status_code == 409


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        "1",
        "x" * 26,
        "01KA" + "U" * 22,
        str(ULID.from_timestamp(0)),
        "7" + "Z" * 25,
        "../../../etc/passwd",
    ],
)
async def test_an_id_that_is_no_ulid_of_now_is_refused(
    client: httpx.AsyncClient, job_id: str
) -> None:
    answer = await post(client, id=job_id)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "id"


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9", "tab\tkey"])
async def test_a_key_that_is_too_long_or_not_printable_is_refused(
    client: httpx.AsyncClient, key: str
) -> None:
    answer = await client.post(
        "/v1/jobs", json=BODY, headers=[(b"idempotency-key", key.encode("latin-1"))]
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "Idempotency-Key"


async def test_many_at_once_with_one_key_make_one_job(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(post(client, "k") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_request_comes_again_after_its_latent_was_deleted(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    made = (await post(client)).json()["id"]
    await fake_jobs.run(made)
    image = fake_jobs.images(made)[0]
    vary = {"kind": "vary_details", "latent_id": image.latent_id}
    headers = {"idempotency-key": "vary"}
    first = await client.post("/v1/jobs", json=vary, headers=headers)
    await client.delete(f"/v1/images/{image.id}")
    again = await client.post("/v1/jobs", json=vary, headers=headers)
    assert again.json()["id"] == first.json()["id"]


async def test_end_users_of_one_trusted_key_have_idempotency_keys_of_their_own(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    headers = bearer("create", "read", "trusted") | {"idempotency-key": "k1"}

    async def created(user: str | None) -> str:
        body = {"prompt": "x"} | ({"user": user} if user else {})
        answer = await client.post("/v1/jobs", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    first = [await created(user) for user in ("ann", "bob", None)]
    assert len(set(first)) == 3
    assert [await created(user) for user in ("ann", "bob", None)] == first
