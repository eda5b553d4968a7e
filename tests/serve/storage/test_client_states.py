"""Clients that find their jobs again after a restart, and deal with each end once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import reduce
from typing import Any

import httpx
import pytest

from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


async def made(client: httpx.AsyncClient, state: dict[str, Any] | None, **headers: str) -> str:
    body = {"prompt": "x", "client_state": state}
    answer = await client.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def in_inbox(client: httpx.AsyncClient, name: str, **headers: str) -> list[str]:
    answer = await client.get("/v1/jobs", params={"inbox": name}, headers=headers)
    return [job["id"] for job in answer.json()["jobs"]]


async def test_jobs_are_found_by_their_inbox_until_they_are_taken_out(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    await made(client, None)
    await made(client, {"inbox": "other"})
    first = await made(client, {"inbox": "bot", "channel": 1})
    second = await made(client, {"inbox": "bot"})
    fake_jobs.finish(first, "succeeded")
    assert await in_inbox(client, "bot") == [second, first]
    changed = await client.patch(f"/v1/jobs/{first}", json={"client_state": {"channel": 1}})
    assert changed.json()["client_state"] == {"channel": 1}
    assert await in_inbox(client, "bot") == [second]


async def test_of_many_clients_that_claim_a_job_one_gets_it(client: httpx.AsyncClient) -> None:
    job_id = await made(client, {"inbox": "bot", "n": {"a": [1, None]}})
    claims = [
        client.patch(
            f"/v1/jobs/{job_id}",
            json={
                "client_state": {"inbox": "bot", "claimed_by": number},
                "expected": {"n": {"a": [1, None]}, "inbox": "bot"},
            },
        )
        for number in range(6)
    ]
    answers = await asyncio.gather(*claims)
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
    [winner] = [answer for answer in answers if answer.is_success]
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["client_state"] == winner.json()["client_state"]


async def test_an_empty_change_changes_nothing_and_null_takes_it_away(
    client: httpx.AsyncClient,
) -> None:
    job_id = await made(client, {"a": 1})
    same = await client.patch(f"/v1/jobs/{job_id}", json={})
    assert same.json()["client_state"] == {"a": 1}
    gone = await client.patch(f"/v1/jobs/{job_id}", json={"client_state": None})
    assert "client_state" not in gone.json()


async def test_an_inbox_holds_jobs_of_ones_own_key_only(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    mine, other = bearer("create", "read"), bearer("create", "read")
    job_id = await made(client, {"inbox": "bot"}, **mine)
    assert await in_inbox(client, "bot", **mine) == [job_id]
    assert await in_inbox(client, "bot", **other) == []
    stolen = await client.patch(f"/v1/jobs/{job_id}", json={"client_state": {}}, headers=other)
    assert stolen.status_code == 404


async def test_a_state_too_long_to_keep_is_refused_by_name(client: httpx.AsyncClient) -> None:
    job_id = await made(client, {"a": 1})
    body = {"client_state": {"a": "x" * 5000}}
    answer = await client.patch(f"/v1/jobs/{job_id}", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "client_state")


async def test_odd_text_in_a_state_hides_no_job(client: httpx.AsyncClient) -> None:
    for name in ("\x00", "x" * 65, 7, ["bot"]):
        await made(client, {"inbox": name})
    odd = await made(client, {"inbox": "bot", "note": "a\x00b"})
    plain = await made(client, {"inbox": "bot", "note": "100% \\ 'x'"})
    assert await in_inbox(client, "bot") == [plain, odd]
    assert (await client.get("/v1/jobs", params={"inbox": "\x00"})).status_code == 400


@pytest.mark.parametrize("depth", [65, 300, 680])
async def test_values_nested_too_deep_to_be_answered_again_are_refused(
    client: httpx.AsyncClient, depth: int
) -> None:
    value: dict[str, Any] = reduce(lambda inner, _: {"a": inner}, range(depth - 1), {})
    job_id = (await client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    answers = [
        await client.post("/v1/jobs", json={"prompt": "x", "client_state": value}),
        await client.patch(f"/v1/jobs/{job_id}", json={"client_state": value}),
        await client.put("/v1/preferences/x", json={"value": value}),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert "nested" in answer.json()["error"]["message"]
    fits = {"client_state": reduce(lambda inner, _: {"a": inner}, range(63), {})}
    assert (await client.patch(f"/v1/jobs/{job_id}", json=fits)).status_code == 200
    assert (await client.get("/v1/jobs")).json()["jobs"][0]["client_state"] == fits["client_state"]
