"""Jobs over HTTP: accepted, waited for, listed, cancelled."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cascade_core.errors import OutOfMemory
from cascade_core.job_states import JobState
from serve.gateway.events.event_hub import EventHub
from tests.serve.api_calls import NOT_THERE, create, made
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.storage.job_parts.drafts import set_columns


@pytest.fixture
def waits_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long each request has waited at most; none waits for its job here."""
    waits_s: list[float] = []

    async def note(_hub: EventHub, _job_id: str, timeout_s: float) -> None:
        waits_s.append(timeout_s)  # as if the job had not ended in time

    monkeypatch.setattr(EventHub, "wait_until_ended", note)
    return waits_s


async def test_a_job_is_accepted_with_every_value_decided(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "a red circle", "seed": 3})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["kind"], job["position"]) == ("queued", "generate", 0)
    assert (job["request"]["height"], job["request"]["steps"]) == (384, 12)
    assert (job["request"]["seed"], job["request"]["decoder_seed"]) == (3, 3)
    assert (await client.get(answer.headers["location"])).json() == job


async def test_client_state_and_user_travel_with_the_job(client: httpx.AsyncClient) -> None:
    job = await create(client, client_state={"channel": "1"}, user="ann")
    assert job["client_state"] == {"channel": "1"}
    listed = (await client.get("/v1/jobs", params={"user": "ann"})).json()["jobs"]
    assert [item["id"] for item in listed] == [job["id"]]


@pytest.mark.parametrize("prefer", ["wait=30", "respond-async, wait=30", 'Wait="30"', "a; wait=30"])
async def test_waiting_answers_the_ended_job(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, waits_s: list[float], prefer: str
) -> None:
    fake_jobs.on_submit = fake_jobs.run
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": prefer})
    assert answer.status_code == 200
    assert answer.json()["state"] == "succeeded"
    assert len(answer.json()["images"]) == 1
    assert waits_s == [30.0]


@pytest.mark.parametrize("state", [None, {}, {"b": 1.0, "a": ["\u2028", None]}])
@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
async def test_the_ended_job_is_answered_as_its_address_shows_it(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    state: dict[str, Any] | None,
    end: JobState,
) -> None:
    async def run(job_id: str) -> None:
        await fake_jobs.make_image(job_id, 0)
        fake_jobs.database.jobs.add_warnings(job_id, ["a *warning*"])
        fake_jobs.finish(job_id, end, OutOfMemory("full") if end == "failed" else None)

    fake_jobs.on_submit = run
    body = {"prompt": "ä", "n": 2, "client_state": state, "guidance_scale": 3}
    answer = await client.post("/v1/jobs", json=body, headers={"prefer": "wait=60"})
    assert answer.status_code == 200
    assert answer.json()["state"] == end
    assert answer.text == (await client.get(answer.headers["location"])).text


async def test_the_end_of_its_own_job_needs_no_other_read(
    client: httpx.AsyncClient, running: FakeJobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(job_id: str) -> None:
        await make(job_id)
        monkeypatch.setattr(running.database.jobs, "get", None)

    make, running.on_submit = running.run, run
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": "wait=60"})
    assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")


async def test_another_request_for_the_job_gets_it_as_it_stands(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    headers = {"prefer": "wait=60", "idempotency-key": "k"}
    body = {"prompt": "x", "client_state": {"a": 1}}
    first = (await client.post("/v1/jobs", json=body, headers=headers)).json()
    await client.patch(f"/v1/jobs/{first['id']}", json={"client_state": {"a": 2}})
    again = (await client.post("/v1/jobs", json=body, headers=headers)).json()
    assert again == first | {"client_state": {"a": 2}}


async def test_waiting_too_short_answers_202(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"


async def test_a_job_that_fails_while_waited_for_carries_its_error(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async def fail(job_id: str) -> None:
        fake_jobs.finish(job_id, "failed", OutOfMemory("the device ran out of memory"))

    fake_jobs.on_submit = fail
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": "wait=9"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "failed"
    assert answer.json()["error"] == {
        "code": "out_of_memory",
        "message": "the device ran out of memory",
    }


@pytest.mark.parametrize("prefer", ["respond-async", "wait=", "wait=soon", "await=30", "wait=0"])
async def test_a_request_without_a_readable_wait_does_not_wait(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, waits_s: list[float], prefer: str
) -> None:
    fake_jobs.on_submit = fake_jobs.run
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": prefer})
    assert answer.status_code == 202
    assert waits_s == []


async def test_no_request_waits_longer_than_two_minutes(
    client: httpx.AsyncClient, waits_s: list[float]
) -> None:
    await client.post("/v1/jobs", json={"prompt": "x"}, headers={"prefer": "wait=99999"})
    assert waits_s == [120.0]


async def test_jobs_are_listed_newest_first_in_pages(client: httpx.AsyncClient) -> None:
    ids = [(await create(client))["id"] for _ in range(3)]
    first = (await client.get("/v1/jobs", params={"limit": 2})).json()
    rest = (
        await client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == ids[::-1]
    assert rest["next_cursor"] is None


async def test_jobs_are_listed_by_state(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    done = await made(client, fake_jobs)
    await create(client)
    listed = (await client.get("/v1/jobs", params={"state": "succeeded"})).json()["jobs"]
    assert listed == [done]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"state": "done"}, "state must be 'queued'"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"limit": 201}, "limit must be at most 200"),
        ({"limit": "x"}, "limit must be a whole number"),
        ({"cursor": "a/b"}, "cursor"),
        ({"user": "x" * 129}, "user"),
        ({"user": "\x00"}, "user must be printable"),
    ],
)
async def test_a_bad_filter_is_400_and_names_it(
    client: httpx.AsyncClient, params: dict[str, Any], words: str
) -> None:
    answer = await client.get("/v1/jobs", params=params)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert answer.json()["error"]["field"] == next(iter(params))


async def test_cancelling_ends_the_job_and_again_changes_nothing(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await create(client)
    first = await client.delete(f"/v1/jobs/{job['id']}")
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (await client.delete(f"/v1/jobs/{job['id']}")).json() == first.json()
    done = await made(client, fake_jobs)
    assert (await client.delete(f"/v1/jobs/{done['id']}")).json() == done


@pytest.mark.parametrize("job_id", NOT_THERE)
async def test_an_unknown_job_is_404(client: httpx.AsyncClient, job_id: str) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/events"),
        ("GET", "/previews/0-c-5.webp"),
    ):
        if (job_id, path) == ("..", "/events"):
            continue  # the client asks for /v1/events instead, which is there
        answer = await client.request(method, f"/v1/jobs/{job_id}{path}")
        assert answer.status_code in {404, 405} if job_id == ".." else answer.status_code == 404
        assert "code" in answer.json()["error"]


async def test_a_job_that_only_a_later_release_can_read_says_so_and_keeps_its_picture(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    jobs = [await create(client) for _ in range(3)]
    await fake_jobs.run(jobs[0]["id"])
    [image] = fake_jobs.images(jobs[0]["id"])
    for job in jobs[:2]:
        values = {"kind": "edit", "request": job["request"] | {"kind": "edit"}}
        set_columns(fake_jobs.database, job["id"], **values)
    listed = (await client.get("/v1/jobs")).json()
    assert [job["id"] for job in listed["jobs"]] == [jobs[2]["id"]]
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("GET", "/events")):
        answer = await client.request(method, f"/v1/jobs/{jobs[1]['id']}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "record_newer")
    assert fake_jobs.database.jobs.is_open(jobs[1]["id"])
    assert (await client.get(f"/v1/images/{image.id}")).status_code == 200
