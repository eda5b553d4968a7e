"""Compositions of waiting jobs made anew over HTTP: refused, accepted, shown, continued."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import NotReady
from tests.serve.api_calls import NOT_THERE, code, drafted, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import PREVIEW, FakeJobsClient


@pytest.fixture
def checkpoint(checkpoint: Checkpoint, tmp_path: Any) -> Checkpoint:
    return replace(checkpoint, previewer=tmp_path / "preview.json")


async def shown(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
    return job


async def redo(
    client: httpx.AsyncClient, job_id: str, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    return await client.post(f"/v1/jobs/{job_id}/redo", json=body, headers=headers)


async def test_compositions_are_made_anew_as_often_as_wanted_and_then_finished(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    before = await drafted(client, fake_jobs, n=4, seed=7)
    answer = await redo(client, before["id"], indices=[3, 1])
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{before['id']}"
    job = answer.json()
    assert (job["state"], job["request"]) == ("queued", before["request"])
    assert [one["index"] for one in job["compositions"]] == [0, 2]
    await fake_jobs.draft(job["id"])
    assert (await redo(client, job["id"], indices=[1])).status_code == 202
    await fake_jobs.draft(job["id"])
    job = await shown(client, job["id"])
    assert job["state"] == "waiting"
    assert [one["seed"] for one in job["compositions"]] == [7, 16, 9, 14]
    earlier = [one for redo in job["redone"] for one in redo["compositions"]]
    assert [(one["index"], one["seed"]) for one in earlier] == [(1, 8), (3, 10), (1, 12)]
    assert earlier[:2] == [before["compositions"][1], before["compositions"][3]]
    urls = {one["preview_url"] for one in (*earlier, *job["compositions"])}
    assert len(urls) == 7
    for one in (*earlier, *job["compositions"]):
        assert (await client.get(one["preview_url"])).content == PREVIEW
        assert (await client.get(f"/v1/latents/{one['latent_id']}")).status_code == 200
    answer = await client.post(f"/v1/jobs/{job['id']}/continue", json={"indices": [1]})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert (await redo(client, job["id"], indices=[0])).status_code == 409


async def test_a_deleted_picture_takes_the_latents_before_it_was_made_anew_along(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    before = await drafted(client, fake_jobs, n=2)
    await redo(client, before["id"], indices=[1])
    await fake_jobs.draft(before["id"])
    await client.post(f"/v1/jobs/{before['id']}/continue", json={"indices": [1]})
    await fake_jobs.make_image(before["id"], 1)
    fake_jobs.finish(before["id"], "succeeded")
    job = await shown(client, before["id"])
    [image] = job["images"]
    replaced, kept = (one["latent_id"] for one in before["compositions"][::-1])
    refused = await client.delete(f"/v1/latents/{replaced}")
    assert refused.status_code == 409
    message = refused.json()["error"]["message"]
    assert f"image {image['id']} shows the composition that replaced this one" in message

    assert (await client.delete(f"/v1/images/{image['id']}")).status_code == 204

    for latent_id in (replaced, image["latent_id"]):
        assert (await client.get(f"/v1/latents/{latent_id}")).status_code == 410
    assert (await client.get(f"/v1/latents/{kept}")).status_code == 200


async def test_an_earlier_composition_has_no_picture_of_the_one_that_replaced_it(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs)
    old_id = job["compositions"][0]["latent_id"]
    await redo(client, job["id"], indices=[0])
    await fake_jobs.run(job["id"])
    varied = await made(client, fake_jobs, kind="vary_details", latent_id=old_id, prompt=None)
    (image,) = varied["images"]
    assert image["derived_from"]["image_id"] is None


@pytest.mark.parametrize("indices", [None, [], [0, 0], [3], [-1], ["0"], [0.5], 0])
async def test_a_wrong_choice_is_refused_by_name(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, indices: object
) -> None:
    job = await drafted(client, fake_jobs, n=3)
    answer = await redo(client, job["id"], **({} if indices is None else {"indices": indices}))
    assert answer.status_code == 400
    assert answer.json()["error"]["field"].startswith("indices")
    assert await shown(client, job["id"]) == job


async def test_a_request_that_is_sent_again_is_answered_with_the_job(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs, n=2)
    headers = {"idempotency-key": "mine"}
    assert (await redo(client, job["id"], headers, indices=[0])).status_code == 202
    again = await redo(client, job["id"], headers, indices=[0])
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    await fake_jobs.draft(job["id"])
    late = await redo(client, job["id"], headers, indices=[0])
    assert (late.status_code, late.json()["state"]) == (202, "waiting")
    assert len(late.json()["redone"]) == 1
    other = await redo(client, job["id"], headers, indices=[1])
    assert (other.status_code, code(other)) == (409, "idempotency_mismatch")


async def test_a_job_that_does_not_wait_cannot_be_redone(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await made(client, fake_jobs)
    answer = await redo(client, job["id"], indices=[0])
    assert (answer.status_code, code(answer)) == (409, "conflict")
    waiting = await drafted(client, fake_jobs)
    assert (await redo(client, waiting["id"], indices=[0])).status_code == 202
    answer = await redo(client, waiting["id"], indices=[0])
    assert (answer.status_code, code(answer)) == (409, "conflict")


@pytest.mark.parametrize("job_id", NOT_THERE)
async def test_an_unknown_job_cannot_be_redone(client: httpx.AsyncClient, job_id: str) -> None:
    assert (await redo(client, job_id, indices=[0])).status_code == 404


async def test_another_caller_cannot_redo_a_job(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    own, others, reader = bearer("create", "read"), bearer("create", "read"), bearer("read")
    body = {"prompt": "x", "stop_after": "c"}
    job_id = (await client.post("/v1/jobs", json=body, headers=own)).json()["id"]
    await fake_jobs.draft(job_id)
    assert (await redo(client, job_id, others, indices=[0])).status_code == 404
    assert (await redo(client, job_id, reader, indices=[0])).status_code == 403
    assert (await redo(client, job_id, own, indices=[0])).status_code == 202


async def test_a_draft_of_another_model_is_not_mixed_with_this_one(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    fake_jobs.model = replace(fake_jobs.model, fingerprint="another")
    job = await drafted(client, fake_jobs)
    answer = await redo(client, job["id"], indices=[0])
    assert (answer.status_code, code(answer)) == (422, "model_mismatch")
    assert await shown(client, job["id"]) == job


async def test_a_job_goes_on_waiting_while_it_cannot_be_redone(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await drafted(client, fake_jobs)
    fake_jobs.error = NotReady("the service is shutting down")
    assert (await redo(client, job["id"], indices=[0])).status_code == 503
    fake_jobs.error = None
    assert await shown(client, job["id"]) == job
    assert (await redo(client, job["id"], indices=[0])).status_code == 202
