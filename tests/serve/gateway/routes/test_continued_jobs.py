"""Jobs with ``stop_after`` over HTTP: refused, drafted, shown, continued, cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import NotReady, RateLimited
from tests.serve.api_calls import NOT_THERE, code, drafted, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import PREVIEW, FakeJobsClient


@pytest.fixture
def checkpoint(checkpoint: Checkpoint, tmp_path: Any) -> Checkpoint:
    return replace(checkpoint, previewer=tmp_path / "preview.json")


async def go_on(
    client: httpx.AsyncClient, job_id: str, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    return await client.post(f"/v1/jobs/{job_id}/continue", json=body, headers=headers)


@pytest.mark.parametrize(
    ("stop_after", "status"), [("c", 202), ("b", 400), ("a", 400), ("x y", 400), (3, 400)]
)
async def test_a_job_can_stop_after_the_stage_that_keeps_its_output_alone(
    client: httpx.AsyncClient, stop_after: object, status: int
) -> None:
    body = {"prompt": "x", "stop_after": stop_after}
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == status
    if status == 202:
        assert answer.json()["request"]["stop_after"] == "c"
    else:
        assert answer.json()["error"]["field"] == "stop_after"


async def test_a_kind_that_makes_no_latent_cannot_stop(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    latent_id = (await made(client, fake_jobs))["images"][0]["latent_id"]
    body = {"kind": "vary_details", "latent_id": latent_id, "stop_after": "c"}
    answer = await client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "stop_after")
    assert "vary_details" in answer.json()["error"]["message"]


class TestWithoutPreviewer:
    @pytest.fixture
    def checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        return replace(checkpoint, previewer=None)

    async def test_a_model_that_draws_no_previews_refuses_to_stop(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await client.post("/v1/jobs", json={"prompt": "x", "stop_after": "c"})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "stop_after")


async def test_a_waiting_job_shows_compositions_with_previews_and_latents(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs, n=2, seed=5)
    assert [(one["index"], one["seed"]) for one in job["compositions"]] == [(0, 5), (1, 6)]
    for one in job["compositions"]:
        assert (await client.get(one["preview_url"])).content == PREVIEW
        assert (await client.get(f"/v1/latents/{one['latent_id']}")).status_code == 200
    listed = (await client.get("/v1/jobs", params={"state": "waiting"})).json()["jobs"]
    assert listed == [job]


@pytest.mark.parametrize("accept", ["*/*", "image/png, application/json;q=0.5"])
async def test_a_request_that_waits_is_answered_when_its_job_waits(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, accept: str
) -> None:
    fake_jobs.on_submit = fake_jobs.draft
    body = {"prompt": "x", "stop_after": "c", "client_state": {"mine": 1}}
    headers = {"prefer": "wait=60", "accept": accept}
    answer = await client.post("/v1/jobs", json=body, headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (200, "waiting")
    assert answer.text == (await client.get(answer.headers["location"])).text


async def test_a_client_that_takes_pictures_alone_cannot_have_a_draft(
    client: httpx.AsyncClient,
) -> None:
    headers = {"prefer": "wait=60", "accept": "image/png"}
    answer = await client.post("/v1/jobs", json={"prompt": "x", "stop_after": "c"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["field"]) == (406, "stop_after")


async def test_a_stream_ends_where_a_job_waits_and_follows_it_when_it_goes_on(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs)
    url = f"/v1/jobs/{job['id']}/events"

    def types(answer: httpx.Response) -> list[str]:
        lines = answer.text.splitlines()
        return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]

    first = await client.get(url)
    assert types(first) == ["queued", "progress", "waiting"]
    last_id = [line for line in first.text.splitlines() if line.startswith("id: ")][-1][4:]
    assert (await client.get(url, headers={"last-event-id": last_id})).status_code == 204
    assert (await go_on(client, job["id"], indices=[0])).status_code == 202
    await fake_jobs.make_image(job["id"])
    fake_jobs.finish(job["id"], "succeeded")
    resumed = await client.get(url, headers={"last-event-id": last_id})
    assert types(resumed)[0] == "queued"
    assert types(resumed)[-1] == "succeeded"
    whole = types(await client.get(url))
    assert "waiting" not in whole
    assert whole.count("queued") == 2


async def test_chosen_images_are_finished_and_the_job_keeps_its_request(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    before = await drafted(client, fake_jobs, n=3)
    answer = await go_on(client, before["id"], indices=[2, 0], decoder_steps=4)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{before['id']}"
    job = answer.json()
    assert (job["state"], job["request"]) == ("queued", before["request"])
    assert (job["continued"]["indices"], job["continued"]["decoder_steps"]) == ([0, 2], 4)
    assert job["compositions"] == before["compositions"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "indices", ""),
        ({"indices": []}, "indices", "between 0 and 2"),
        ({"indices": [0, 0]}, "indices", "between 0 and 2"),
        ({"indices": [3]}, "indices", "between 0 and 2"),
        ({"indices": [-1]}, "indices", "between 0 and 2"),
        ({"indices": ["0"]}, "indices", ""),
        ({"indices": [0.5]}, "indices", ""),
        ({"indices": [True]}, "indices", ""),
        ({"indices": 0}, "indices", ""),
        ({"indices": [0], "decoder_steps": 0}, "decoder_steps", "between 1 and 100"),
        ({"indices": [0], "width": 300}, "width", "multiple of 128"),
        ({"indices": [0], "width": 768, "height": 1152}, "width", "between 256 and 512"),
        ({"indices": [0], "seed": 4}, "seed", ""),
    ],
)
async def test_a_wrong_choice_is_refused_by_name(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    body: dict[str, Any],
    field: str,
    words: str,
) -> None:
    job = await drafted(client, fake_jobs, n=3)
    answer = await go_on(client, job["id"], **body)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["field"].startswith(field)
    assert words in error["message"]
    assert (await client.get(f"/v1/jobs/{job['id']}")).json() == job


async def test_the_pictures_of_a_continued_job_can_be_larger_and_never_stretched(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs, n=2, width=256, height=256)
    answer = await go_on(client, job["id"], indices=[1], width=384)
    assert (answer.status_code, code(answer)) == (422, "unsupported_combination")
    assert answer.json()["error"]["field"] == "width"
    answer = await go_on(client, job["id"], indices=[1], width=384, height=384)
    assert answer.status_code == 202
    for index in (0, 1):
        await fake_jobs.make_image(job["id"], index)
    shown = (await client.get(f"/v1/jobs/{job['id']}")).json()
    assert [image["width"] for image in shown["images"]] == [256, 384]
    assert [one["width"] for one in shown["compositions"]] == [256, 256]
    assert shown["continued"]["height"] == 384


async def test_a_composition_that_was_not_chosen_can_be_deleted_once_its_job_has_ended(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    own, others, reader = bearer("create", "read"), bearer("create", "read"), bearer("read")
    body = {"prompt": "x", "stop_after": "c", "n": 2}
    job_id = (await client.post("/v1/jobs", json=body, headers=own)).json()["id"]
    await fake_jobs.draft(job_id)
    url = f"/v1/jobs/{job_id}"
    await client.post(f"{url}/redo", json={"indices": [1]}, headers=own)
    await fake_jobs.draft(job_id)
    job = (await client.get(url, headers=own)).json()
    chosen, left = job["compositions"]
    [replaced] = job["redone"][0]["compositions"]

    async def delete(one: dict[str, Any], headers: dict[str, str] = own) -> int:
        path = f"/v1/latents/{one['latent_id']}"
        return (await client.delete(path, headers=headers)).status_code

    assert await delete(left) == 409
    await client.post(f"{url}/continue", json={"indices": [0]}, headers=own)
    await fake_jobs.make_image(job_id, 0)
    fake_jobs.finish(job_id, "succeeded")
    assert [await delete(left, stranger) for stranger in (others, reader)] == [404, 403]
    assert await delete(chosen) == 409
    assert [await delete(left) for _ in "ab"] == [204, 204]
    for one in (left, replaced):
        latent = await client.get(f"/v1/latents/{one['latent_id']}", headers=own)
        preview = await client.get(one["preview_url"], headers=own)
        assert (latent.status_code, preview.status_code) == (410, 404)
    after = (await client.get(url, headers=own)).json()
    assert after["compositions"] == [chosen]
    assert len(after["images"]) == 1
    latent = await client.get(f"/v1/latents/{chosen['latent_id']}", headers=own)
    assert latent.status_code == 200


async def test_a_job_is_continued_once(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs, n=2)
    headers = {"idempotency-key": "mine"}
    assert (await go_on(client, job["id"], headers, indices=[0])).status_code == 202
    again = await go_on(client, job["id"], headers, indices=[0])
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    other = await go_on(client, job["id"], headers, indices=[1])
    assert (other.status_code, code(other)) == (409, "idempotency_mismatch")
    without = await go_on(client, job["id"], indices=[0])
    assert (without.status_code, code(without)) == (409, "conflict")


async def test_whether_a_job_waits_is_told_before_the_limits_of_open_jobs(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job, headers = await drafted(client, fake_jobs), {"idempotency-key": "mine"}
    fake_jobs.error = RateLimited("too many jobs are open", retry_after_s=5.0)
    assert (await go_on(client, job["id"], headers, indices=[0])).status_code == 429
    fake_jobs.error = None
    assert (await go_on(client, job["id"], headers, indices=[0])).status_code == 202
    fake_jobs.error = RateLimited("too many jobs are open", retry_after_s=5.0)
    assert (await go_on(client, job["id"], headers, indices=[0])).status_code == 202
    assert (await go_on(client, job["id"], indices=[0])).status_code == 409
    redo = await client.post(f"/v1/jobs/{job['id']}/redo", json={"indices": [0]})
    assert (redo.status_code, code(redo)) == (409, "conflict")


async def test_the_key_of_a_redo_does_not_continue_the_job(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job, headers = await drafted(client, fake_jobs), {"idempotency-key": "mine"}
    url = f"/v1/jobs/{job['id']}/redo"
    redo = await client.post(url, json={"indices": [0]}, headers=headers)
    assert redo.status_code == 202
    await fake_jobs.draft(job["id"])
    answer = await go_on(client, job["id"], headers, indices=[0])
    assert (answer.status_code, code(answer)) == (409, "idempotency_mismatch")
    assert (await client.get(f"/v1/jobs/{job['id']}")).json()["state"] == "waiting"


async def test_a_job_that_does_not_wait_cannot_be_continued(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await made(client, fake_jobs)
    answer = await go_on(client, job["id"], indices=[0])
    assert (answer.status_code, code(answer)) == (409, "conflict")
    assert "succeeded" in answer.json()["error"]["message"]


@pytest.mark.parametrize("job_id", NOT_THERE)
async def test_an_unknown_job_cannot_be_continued(client: httpx.AsyncClient, job_id: str) -> None:
    assert (await go_on(client, job_id, indices=[0])).status_code == 404


async def test_another_caller_cannot_continue_a_job(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    own, others, reader = bearer("create", "read"), bearer("create", "read"), bearer("read")
    body = {"prompt": "x", "stop_after": "c"}
    job_id = (await client.post("/v1/jobs", json=body, headers=own)).json()["id"]
    await fake_jobs.draft(job_id)
    assert (await go_on(client, job_id, others, indices=[0])).status_code == 404
    assert (await go_on(client, job_id, reader, indices=[0])).status_code == 403
    assert (await go_on(client, job_id, own, indices=[0])).status_code == 202


async def test_what_another_model_composed_is_not_continued(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    fake_jobs.model = replace(fake_jobs.model, fingerprint="another")
    job = await drafted(client, fake_jobs)
    answer = await go_on(client, job["id"], indices=[0])
    assert (answer.status_code, code(answer)) == (422, "model_mismatch")
    assert (await client.get(f"/v1/jobs/{job['id']}")).json() == job


async def test_a_job_goes_on_waiting_while_it_cannot_be_continued(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs)
    fake_jobs.error = NotReady("the service is shutting down")
    assert (await go_on(client, job["id"], indices=[0])).status_code == 503
    fake_jobs.error = None
    assert (await go_on(client, job["id"], indices=[0])).status_code == 202


async def test_a_waiting_job_can_be_cancelled(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs)
    answer = await client.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert (await go_on(client, job["id"], indices=[0])).status_code == 409


async def test_a_client_that_leaves_before_its_job_waits_cancels_it(
    live_client: httpx.AsyncClient, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    body, headers = {"prompt": "x", "stop_after": "c"}, {"prefer": "wait=60"}
    asking = asyncio.create_task(live_client.post("/v1/jobs", json=body, headers=headers))
    job_id = await submitted.get()
    asking.cancel()
    await fake_jobs.ended(job_id)
    job = fake_jobs.database.jobs.get(job_id)
    assert job is not None
    assert job.state == "cancelled"
