"""A request that waits for its job gets the picture itself if it accepts pictures."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cascade_core.errors import NotAcceptable, OutOfMemory
from serve.gateway.dependencies import Services
from serve.gateway.routes.accept_header import MAX_RANGES, picture_format
from serve.storage.blobs.blob_keys import image_key
from tests.serve.api_calls import code
from tests.serve.fake_jobs_client import FakeJobsClient


async def post(
    client: httpx.AsyncClient, accept: str, prefer: str = "wait=60", **body: Any
) -> httpx.Response:
    headers = {"accept": accept, "prefer": prefer}
    return await client.post("/v1/jobs", json={"prompt": "x"} | body, headers=headers)


@pytest.mark.parametrize("stored", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("wanted", ["png", "webp", "jpeg"])
async def test_the_picture_is_the_one_that_its_address_gives(
    client: httpx.AsyncClient, running: FakeJobsClient, stored: str, wanted: str
) -> None:
    answer = await post(client, f"image/{wanted}", format=stored)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"image/{wanted}"
    job = (await client.get(answer.headers["location"])).json()
    (image,) = job["images"]
    assert answer.headers["x-job-id"] == job["id"]
    assert answer.headers["x-image-id"] == image["id"]
    assert answer.headers["x-latent-id"] == image["latent_id"]
    address = f"/v1/images/{image['id']}?format={wanted}"
    assert answer.headers["content-location"] == address
    fetched = await client.get(address)
    assert answer.content == fetched.content
    for name in ("content-type", "content-disposition"):
        assert answer.headers[name] == fetched.headers[name]
    assert answer.headers["cache-control"] == "no-store"


async def test_any_picture_is_the_stored_one(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    answer = await post(client, "image/*", format="webp")
    assert answer.headers["content-type"] == "image/webp"
    (image,) = running.images(answer.headers["x-job-id"])
    assert answer.content == await running.blobs.get(image_key(image.id, "webp"))


async def test_a_job_that_is_not_done_in_time_is_accepted_as_json(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    answer = await post(client, "image/png", prefer="wait=1")
    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"


async def test_without_a_wait_the_answer_is_json(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    answer = await post(client, "image/png", prefer="respond-async")
    assert (answer.status_code, answer.json()["state"]) == (202, "succeeded")


async def test_a_job_that_fails_is_answered_as_json(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async def fail(job_id: str) -> None:
        fake_jobs.finish(job_id, "failed", OutOfMemory("the device ran out of memory"))

    fake_jobs.on_submit = fail
    answer = await post(client, "image/png")
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == "out_of_memory"


@pytest.mark.parametrize(
    ("accept", "body", "field"),
    [("image/gif", {}, "Accept"), ("image/png", {"n": 2}, "n")],
)
async def test_what_no_answer_can_be_is_406_and_makes_no_job(
    client: httpx.AsyncClient,
    running: FakeJobsClient,
    accept: str,
    body: dict[str, Any],
    field: str,
) -> None:
    answer = await post(client, accept, **body)
    assert (answer.status_code, code(answer)) == (406, "not_acceptable")
    assert answer.json()["error"]["field"] == field
    assert (await client.get("/v1/jobs")).json()["jobs"] == []


async def test_sending_again_gives_the_same_picture_until_it_is_deleted(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    client.headers["idempotency-key"] = "order-17"
    first, again = await post(client, "image/png"), await post(client, "image/png")
    assert again.content == first.content
    assert again.headers["x-image-id"] == first.headers["x-image-id"]
    image_id = first.headers["x-image-id"]
    assert (await client.delete(f"/v1/images/{image_id}")).status_code == 204
    answer = await post(client, "image/png")
    assert (answer.status_code, code(answer)) == (410, "gone")


async def test_a_picture_that_cannot_be_converted_now_is_told_with_its_job(
    client: httpx.AsyncClient,
    running: FakeJobsClient,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services.conversions, "_max_conversions", 0)
    answer = await post(client, "image/webp")
    assert (answer.status_code, code(answer)) == (504, "timeout")
    job = (await client.get(answer.headers["location"])).json()
    assert (job["id"], job["state"]) == (answer.json()["job_id"], "succeeded")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", None),
        ("*/*", None),
        ("application/json", None),
        ("application/*", None),
        ("application/json, text/plain, */*", None),
        ("application/json, image/png", None),
        ("application/json;q=0.5, image/png", "png"),
        ("image/png;q=0.5, application/json;q=0.4", "png"),
        ("image/png;q=0.4, application/json;q=0.5", None),
        ("image/png, */*", "png"),
        ("IMAGE/PNG", "png"),
        ("image/*", "webp"),
        ("image/*, */*", "webp"),
        ("image/*;q=0.5, */*;q=0.1", "webp"),
        ("image/avif,image/jpeg,image/*;q=0.8,*/*;q=0.5", "jpeg"),
        ("image/*, image/webp;q=0", "png"),
        ("image/png;q=0", None),
        ("image/png;q=0, */*", None),
        ("text/html", None),
        ("image/avif, */*;q=0.1", None),
        ("image/png;q=2", None),
        ("image/png;q=x, image/jpeg;q=0.001", "jpeg"),
        ("image", None),
        ("/,;,=", None),
    ],
)
def test_the_preferred_type_is_chosen(accept: str, expected: str | None) -> None:
    assert picture_format(accept, 1, "webp") == expected


@pytest.mark.parametrize(("earlier", "expected"), [(MAX_RANGES - 1, "png"), (MAX_RANGES, None)])
def test_only_the_first_types_of_a_long_header_are_read(earlier: int, expected: str | None) -> None:
    assert picture_format("text/html," * earlier + "image/png", 1, "webp") == expected


@pytest.mark.parametrize("accept", ["image/png, application/json;q=0.1", "image/*, */*;q=0.1"])
def test_several_pictures_come_as_json_if_it_is_accepted(accept: str) -> None:
    assert picture_format(accept, 2, "png") is None


@pytest.mark.parametrize("accept", ["image/gif", "image/avif;q=0.5, image/png;q=0", "image/jpg"])
def test_a_client_that_takes_other_pictures_only_reads_which_there_are(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png, image/webp or image/jpeg"):
        picture_format(accept, 1, "png")
